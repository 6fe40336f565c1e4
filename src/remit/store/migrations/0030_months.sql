-- Closing a month: from then on nothing is booked in it any more.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- What happened to months, oldest first. `totals` of a closing is what was signed off: {charged_nanousd, vendors: {name: owed in
-- nano-USD}, bills: [{vendor, invoice_id, total_nanousd, statement_id}], waived: [{what, vendor, reason}], entries, last_seq}.
CREATE TABLE month_events (
    month    date NOT NULL CHECK (month = date_trunc('month', month)::date),
    revision integer NOT NULL CHECK (revision > 0),
    event    text NOT NULL CHECK (event IN ('closed', 'reopened')),
    at       timestamptz NOT NULL,
    by       text NOT NULL,
    reason   text NOT NULL,
    key      text NOT NULL UNIQUE,
    totals   jsonb,
    PRIMARY KEY (month, revision),
    CONSTRAINT closed_with_totals CHECK ((event = 'closed') = (totals IS NOT NULL))
);
CREATE TRIGGER month_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON month_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();

-- A month is opened again by a ticket that somebody else approved, each by one of its own, in the transaction that approves it.
CREATE FUNCTION refuse_reopening_without_ticket() RETURNS trigger
LANGUAGE plpgsql SET search_path = remit, pg_temp AS $$
BEGIN
    IF (SELECT count(*) FROM month_events WHERE month = NEW.month AND event = 'reopened')
       > (SELECT count(*) FROM tickets WHERE state = 'approved' AND effect ->> 'effect' = 'reopen_month'
                                             AND effect ->> 'month' = NEW.month::text) THEN
        RAISE EXCEPTION 'no approved ticket opens % again', NEW.month USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER month_events_by_ticket AFTER INSERT ON month_events DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.event = 'reopened') EXECUTE FUNCTION refuse_reopening_without_ticket();

-- What is booked in another month than its own.
CREATE INDEX entries_late ON entries (billing_month)
    WHERE billing_month <> date_trunc('month', held_at AT TIME ZONE 'UTC')::date;

-- Every month that has charges or was closed, as it is now.
CREATE VIEW billing_months AS
SELECT m.month, CASE WHEN e.event = 'closed' THEN 'closed' ELSE 'open' END AS status, e.revision, e.at AS changed_at, e.by AS changed_by,
       e.reason, e.totals
FROM (SELECT billing_month AS month FROM rollup_days UNION SELECT month FROM month_events) AS m
LEFT JOIN LATERAL (SELECT * FROM month_events AS x WHERE x.month = m.month ORDER BY x.revision DESC LIMIT 1) AS e ON true;

-- What is booked in a month: by vendor what it is owed, in nano-USD. Transfers have no vendor and come to nothing.
CREATE FUNCTION booked_in(p_month date) RETURNS TABLE (vendor text, amount_nanousd bigint, entries bigint)
LANGUAGE sql STABLE SET search_path = remit, pg_temp AS $$
    SELECT b.vendor, sum(b.amount_nanousd)::bigint, sum(b.entries)::bigint
    FROM (
        SELECT s.dims ->> 'vendor' AS vendor, s.dims ->> 'kind' AS kind, d.amount_nanousd, d.entries
        FROM rollup_days AS d JOIN rollup_series AS s ON s.id = d.series_id
        WHERE d.billing_month = p_month
        UNION ALL
        SELECT f.vendor, f.kind, f.amount_nanousd, f.entries
        FROM entry_facts AS f, rollup_state AS r
        WHERE f.seq > r.seq AND f.billing_month = p_month
    ) AS b
    WHERE b.kind <> 'transfer'
    GROUP BY b.vendor
$$;

-- What is still in suspense of a month or an earlier one, by vendor, in nano-USD; vendors without any are left out.
CREATE FUNCTION open_suspense(p_month date) RETURNS TABLE (vendor text, amount_nanousd bigint)
LANGUAGE sql STABLE SET search_path = remit, pg_temp AS $$
    SELECT b.vendor, sum(b.suspense_nanousd)::bigint
    FROM (
        SELECT s.dims ->> 'vendor' AS vendor, d.suspense_nanousd
        FROM rollup_days AS d JOIN rollup_series AS s ON s.id = d.series_id
        WHERE d.billing_month <= p_month AND d.suspense_nanousd <> 0
        UNION ALL
        SELECT f.vendor, f.suspense_nanousd
        FROM entry_facts AS f, rollup_state AS r
        WHERE f.seq > r.seq AND f.billing_month <= p_month
    ) AS b
    GROUP BY b.vendor HAVING sum(b.suspense_nanousd) <> 0
$$;

-- Whether somebody said why something of a vendor does not keep a month open.
CREATE FUNCTION is_waived(p_waived jsonb, p_what text, p_vendor text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT EXISTS (SELECT FROM jsonb_array_elements(p_waived) AS w WHERE (w ->> 'what', w ->> 'vendor') = (p_what, p_vendor))
$$;

-- Closes a month. Everything that was used in it has to be known, and every vendor's bill has to be what it is owed.
--
-- p_bills   [{vendor, invoice_id, total_nanousd, statement_id}, ...]: what vendors billed for the month; of one vendor they add up
-- p_waived  [{what: "no_bill" | "difference" | "suspense", vendor, reason}, ...]: what is not so, and why it is closed all the same
-- p_key     one closing for each; asked for again it is answered as the first time
--
-- Answers {"month", "revision", "totals", "repeated"}, or {"refused": code, ...} and changes nothing. Codes: month_not_over,
-- month_already_closed, month_before_open {month}, holds_open {count}, suspense_open {by_nanousd, vendor}, bill_missing
-- {vendor, owed_nanousd}, bill_differs {vendor, owed_nanousd, billed_nanousd}, conflict_different_month.
CREATE FUNCTION close_month(p_now timestamptz, p_month date, p_by text, p_reason text, p_bills jsonb, p_waived jsonb, p_key text)
RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_first month_events;
    v_ends timestamptz := (p_month + interval '1 month')::timestamp AT TIME ZONE 'UTC';
    v_closed date;
    v_other date;
    v_count bigint;
    v_found record;
    v_totals jsonb;
    v_revision integer;
BEGIN
    PERFORM lock_tree(true);
    SELECT * INTO v_first FROM month_events WHERE key = p_key;
    IF FOUND THEN
        IF (v_first.month, v_first.event) <> (p_month, 'closed') THEN
            RETURN '{"refused": "conflict_different_month"}';
        END IF;
        RETURN jsonb_build_object('month', p_month, 'revision', v_first.revision, 'totals', v_first.totals, 'repeated', true);
    END IF;
    SELECT closed_through INTO v_closed FROM books;
    IF p_month <= v_closed THEN
        RETURN jsonb_build_object('refused', 'month_already_closed', 'through', v_closed);
    ELSIF p_now < v_ends THEN
        RETURN jsonb_build_object('refused', 'month_not_over', 'ends_at', v_ends);
    END IF;
    SELECT min(m.month) INTO v_other FROM (
        SELECT billing_month AS month FROM rollup_days
        UNION ALL SELECT f.billing_month FROM entry_facts AS f, rollup_state AS r WHERE f.seq > r.seq) AS m
    WHERE m.month < p_month AND (v_closed IS NULL OR m.month > v_closed);
    IF v_other IS NOT NULL THEN
        RETURN jsonb_build_object('refused', 'month_before_open', 'before', v_other);
    END IF;
    SELECT count(*) INTO v_count FROM holds WHERE state = 'open' AND taken_at < v_ends;
    IF v_count > 0 THEN
        RETURN jsonb_build_object('refused', 'holds_open', 'count', v_count);
    END IF;
    FOR v_found IN SELECT * FROM open_suspense(p_month) ORDER BY vendor LOOP
        CONTINUE WHEN is_waived(p_waived, 'suspense', v_found.vendor);
        RETURN jsonb_build_object('refused', 'suspense_open', 'vendor', v_found.vendor, 'by_nanousd', v_found.amount_nanousd);
    END LOOP;
    FOR v_found IN
        SELECT vendor, coalesce(b.amount_nanousd, 0) AS owed, i.billed
        FROM booked_in(p_month) AS b
        FULL JOIN (SELECT x ->> 'vendor' AS vendor, sum((x ->> 'total_nanousd')::bigint)::bigint AS billed
                   FROM jsonb_array_elements(p_bills) AS x GROUP BY 1) AS i USING (vendor)
        ORDER BY vendor
    LOOP
        IF v_found.billed IS NULL AND v_found.owed <> 0 AND NOT is_waived(p_waived, 'no_bill', v_found.vendor) THEN
            RETURN jsonb_build_object('refused', 'bill_missing', 'vendor', v_found.vendor, 'owed_nanousd', v_found.owed);
        ELSIF v_found.billed <> v_found.owed AND NOT is_waived(p_waived, 'difference', v_found.vendor) THEN
            RETURN jsonb_build_object('refused', 'bill_differs', 'vendor', v_found.vendor, 'owed_nanousd', v_found.owed,
                                      'billed_nanousd', v_found.billed);
        END IF;
    END LOOP;
    SELECT jsonb_build_object(
        'charged_nanousd', coalesce(sum(b.amount_nanousd), 0), 'entries', coalesce(sum(b.entries), 0),
        'vendors', coalesce(jsonb_object_agg(b.vendor, b.amount_nanousd) FILTER (WHERE b.vendor IS NOT NULL), '{}'), 'bills', p_bills, 'waived', p_waived,
        'last_seq', (SELECT coalesce(max(seq), 0) FROM entries)) INTO v_totals
    FROM booked_in(p_month) AS b;
    SELECT coalesce(max(revision), 0) + 1 INTO v_revision FROM month_events WHERE month = p_month;
    INSERT INTO month_events (month, revision, event, at, by, reason, key, totals)
    VALUES (p_month, v_revision, 'closed', p_now, p_by, p_reason, p_key, v_totals);
    UPDATE books SET closed_through = p_month;
    RETURN jsonb_build_object('month', p_month, 'revision', v_revision, 'totals', v_totals, 'repeated', false);
END
$$;

-- Opens the month that was closed last again; see month_events_by_ticket. Answers as close_month; codes: month_not_last {through},
-- conflict_different_month.
CREATE FUNCTION reopen_month(p_now timestamptz, p_month date, p_by text, p_reason text, p_key text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_first month_events;
    v_closed date;
    v_revision integer;
BEGIN
    PERFORM lock_tree(true);
    SELECT * INTO v_first FROM month_events WHERE key = p_key;
    IF FOUND THEN
        IF (v_first.month, v_first.event) <> (p_month, 'reopened') THEN
            RETURN '{"refused": "conflict_different_month"}';
        END IF;
        RETURN jsonb_build_object('month', p_month, 'revision', v_first.revision, 'repeated', true);
    END IF;
    SELECT closed_through INTO v_closed FROM books;
    IF v_closed IS DISTINCT FROM p_month THEN
        RETURN jsonb_build_object('refused', 'month_not_last', 'through', v_closed);
    END IF;
    SELECT max(revision) + 1 INTO v_revision FROM month_events WHERE month = p_month;
    INSERT INTO month_events (month, revision, event, at, by, reason, key)
    VALUES (p_month, v_revision, 'reopened', p_now, p_by, p_reason, p_key);
    -- Back to the month before it that is still closed, if there is one.
    UPDATE books SET closed_through = (
        SELECT max(m.month) FROM (SELECT DISTINCT ON (month) month, event FROM month_events ORDER BY month, revision DESC) AS m
        WHERE m.event = 'closed' AND m.month < p_month);
    RETURN jsonb_build_object('month', p_month, 'revision', v_revision, 'repeated', false);
END
$$;

GRANT SELECT ON month_events, billing_months TO remit_authority, remit_reader;
GRANT EXECUTE ON FUNCTION booked_in(date), open_suspense(date) TO remit_authority, remit_reader;
GRANT EXECUTE ON FUNCTION close_month(timestamptz, date, text, text, jsonb, jsonb, text),
    reopen_month(timestamptz, date, text, text, text) TO remit_authority;

RESET ROLE;
