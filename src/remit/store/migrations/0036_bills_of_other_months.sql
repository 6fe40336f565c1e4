-- Bills and what is owed agree over all months: a month can differ by what earlier ones differed by.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- Of a comparison: `basis` is a digest of what the ledger had (remit.reconcile.comparison.Standing), and what it proposes holds as long as
-- that is so; `ledger_nanousd` is what is owed by what is booked in the month, `accepted` are causes that somebody looked into, `asked` what
-- was asked for under the key. Those from before have no basis: what they propose is outdated, and is compared again.
ALTER TABLE reconciliations
    ADD COLUMN accepted text[] NOT NULL DEFAULT '{}',
    ADD COLUMN basis text NOT NULL DEFAULT '',
    ADD COLUMN asked jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY;
ALTER TABLE reconciliations
    ALTER COLUMN accepted DROP DEFAULT, ALTER COLUMN basis DROP DEFAULT, ALTER COLUMN asked DROP DEFAULT;

-- What was charged for a vendor's use in a month, wherever it is booked, in nano-USD; as of one instant.
CREATE FUNCTION used_in(p_month date, p_vendor text) RETURNS bigint
LANGUAGE sql STABLE SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
    SELECT coalesce(sum(b.amount_nanousd), 0)::bigint
    FROM (
        SELECT d.amount_nanousd
        FROM rollup_days AS d JOIN rollup_series AS s ON s.id = d.series_id
        WHERE d.day >= p_month AND d.day < p_month + interval '1 month'
          AND s.dims ->> 'vendor' = p_vendor AND s.dims ->> 'kind' <> 'transfer'
        UNION ALL
        SELECT f.amount_nanousd
        FROM entry_facts AS f, rollup_state AS r
        WHERE f.seq > r.seq AND f.held_at >= p_month::timestamptz AND f.held_at < (p_month + interval '1 month')::timestamptz
          AND f.vendor = p_vendor AND f.kind <> 'transfer'
    ) AS b
$$;

-- By vendor what the closed months before one were billed and not owed, in nano-USD, below zero what they owed and were not billed;
-- vendors of which it is all the same are left out.
CREATE FUNCTION carried_into(p_month date) RETURNS TABLE (vendor text, amount_nanousd bigint)
LANGUAGE sql STABLE SET search_path = remit, pg_temp AS $$
    WITH signed AS (
        SELECT DISTINCT ON (month) month, event, totals FROM month_events WHERE month < p_month ORDER BY month, revision DESC
    )
    SELECT b.vendor, sum(b.amount_nanousd)::bigint
    FROM (
        SELECT x ->> 'vendor' AS vendor, (x ->> 'total_nanousd')::bigint AS amount_nanousd
        FROM signed, jsonb_array_elements(totals -> 'bills') AS x WHERE event = 'closed'
        UNION ALL
        SELECT v.key, -v.value::bigint FROM signed, jsonb_each_text(totals -> 'vendors') AS v WHERE event = 'closed'
    ) AS b
    GROUP BY b.vendor HAVING sum(b.amount_nanousd) <> 0
$$;

-- A month is closed at its bills, or with the bills of the months before at what all of them are owed.
DO $do$
DECLARE
    v record;
    v_made text := pg_get_functiondef('close_month(timestamptz, date, text, text, jsonb, jsonb, text)'::regprocedure);
BEGIN
    FOR v IN SELECT * FROM (VALUES
        ('AS owed, i.billed',
         'AS owed, i.billed,
               coalesce((SELECT c.amount_nanousd FROM carried_into(p_month) AS c WHERE c.vendor = coalesce(b.vendor, i.vendor)), 0) AS carried'),
        ('v_found.billed IS NULL AND v_found.owed <> 0', 'v_found.billed IS NULL AND v_found.owed NOT IN (0, v_found.carried)'),
        ('v_found.billed <> v_found.owed', 'v_found.billed <> v_found.owed AND v_found.billed + v_found.carried <> v_found.owed'),
        ($old$'waived', p_waived,$old$,
         $new$'waived', p_waived,
        'carried', (SELECT coalesce(jsonb_object_agg(c.vendor, c.amount_nanousd), '{}') FROM carried_into(p_month) AS c),$new$)
    ) AS x (old, new) LOOP
        IF (length(v_made) - length(replace(v_made, v.old, ''))) / length(v.old) <> 1 THEN
            RAISE EXCEPTION 'close_month is not as it was when this was written: %', v.old;
        END IF;
        v_made := replace(v_made, v.old, v.new);
    END LOOP;
    EXECUTE v_made;
END
$do$;

GRANT EXECUTE ON FUNCTION used_in(date, text), carried_into(date) TO remit_authority, remit_reader;

RESET ROLE;
