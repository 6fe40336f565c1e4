-- What is booked or waived takes two people: a cost rule somebody else has agreed to, and a month that is closed although something
-- does not hold by a ticket that somebody else approved.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

SELECT lock_tree(true);

-- Who agreed to a revision of a cost rule by posting it first: not who wrote it. From then on anybody of finance posts it.
CREATE TABLE cost_rule_agreements (
    name      text NOT NULL,
    revision  integer NOT NULL,
    agreed_at timestamptz NOT NULL,
    agreed_by text NOT NULL,
    reason    text NOT NULL,
    PRIMARY KEY (name, revision),
    FOREIGN KEY (name, revision) REFERENCES cost_rule_revisions (name, revision)
);
CREATE FUNCTION refuse_agreeing_with_oneself() RETURNS trigger
LANGUAGE plpgsql SET search_path = remit, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM cost_rule_revisions WHERE (name, revision) = (NEW.name, NEW.revision) AND lower(changed_by) = lower(NEW.agreed_by)) THEN
        RAISE EXCEPTION '% wrote revision % of %: somebody else has to agree to it', NEW.agreed_by, NEW.revision, NEW.name USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER cost_rule_agreements_by_another BEFORE INSERT ON cost_rule_agreements
    FOR EACH ROW EXECUTE FUNCTION refuse_agreeing_with_oneself();
CREATE TRIGGER cost_rule_agreements_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON cost_rule_agreements
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();

-- Revisions that somebody else has posted already need nobody more.
INSERT INTO cost_rule_agreements (name, revision, agreed_at, agreed_by, reason)
SELECT DISTINCT ON (r.name, r.revision) r.name, r.revision, e.recorded_at, e.settlement ->> 'by', 'posted before it took two people'
FROM entries AS e
JOIN cost_rule_revisions AS r ON (r.name, r.revision::text) = (e.settlement ->> 'rule', e.settlement ->> 'revision')
WHERE e.kind = 'transfer' AND lower(e.settlement ->> 'by') <> lower(r.changed_by)
ORDER BY r.name, r.revision, e.seq;

-- What was waived when a month was closed, in nano-USD, is more than one person may waive alone only where a ticket that somebody else
-- approved says so, with exactly these bills and waivers, in the transaction that approves it. `totals` of a closing has besides what
-- 0030 says: waived_nanousd, alone_nanousd (what one may waive alone), and amount_nanousd of each waiver.
CREATE FUNCTION refuse_waiving_without_ticket() RETURNS trigger
LANGUAGE plpgsql SET search_path = remit, pg_temp AS $$
BEGIN
    IF coalesce((NEW.totals ->> 'waived_nanousd')::numeric > (NEW.totals ->> 'alone_nanousd')::numeric, true)
       AND NOT EXISTS (SELECT FROM tickets
                       WHERE 'ticket:' || id = NEW.key AND state = 'approved' AND effect ->> 'effect' = 'close_month'
                         AND effect ->> 'month' = NEW.month::text AND effect -> 'bills' = NEW.totals -> 'bills'
                         AND effect -> 'waived' = NEW.totals -> 'waived') THEN
        RAISE EXCEPTION 'no approved ticket waives what keeps % open', NEW.month USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER month_events_waived_by_ticket AFTER INSERT ON month_events DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.event = 'closed') EXECUTE FUNCTION refuse_waiving_without_ticket();

-- Waivers without what they came to: what was asked.
CREATE FUNCTION waivers_asked(p_waived jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = remit, pg_temp AS $$
    SELECT coalesce(jsonb_agg(w.value - 'amount_nanousd' ORDER BY w.ordinality), '[]')
    FROM jsonb_array_elements(p_waived) WITH ORDINALITY AS w
$$;

-- Why a repetition of a closing is not the closing that was done first under its key, as an answer; NULL where it is.
CREATE FUNCTION closing_conflict(
    p_first month_events, p_month date, p_by text, p_reason text, p_bills jsonb, p_waived jsonb
) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = remit, pg_temp AS $$
    SELECT CASE
        WHEN (p_first.month, p_first.event) <> (p_month, 'closed') THEN '{"refused": "conflict_different_month"}'
        WHEN lower(p_first.by) <> lower(p_by) THEN '{"refused": "conflict_different_actor"}'
        WHEN p_first.reason <> p_reason THEN '{"refused": "conflict_different_reason"}'
        WHEN p_first.totals -> 'bills' <> p_bills THEN '{"refused": "conflict_different_bills"}'
        WHEN waivers_asked(p_first.totals -> 'waived') <> waivers_asked(p_waived) THEN '{"refused": "conflict_different_waived"}'
        WHEN EXISTS (SELECT FROM month_events WHERE month = p_month AND revision > p_first.revision)
            THEN jsonb_build_object('refused', 'month_changed_since', 'revision', p_first.revision)
    END
$$;

-- As in 0030, and besides:
--
-- p_waived   an element may say amount_nanousd: then that has to be what it comes to now
-- p_key      a repetition is answered as the first time only where it asks the same, and nothing happened to the month since
--
-- What closes it says so first, in the setting remit.closing of the transaction: {"alone_nanousd": how much in all one person may waive,
-- "decided": whether an approved ticket closes it (see month_events_waived_by_ticket)}. Unsaid, nobody waives anything alone.
--
-- Further codes: conflict_different_actor, .._reason, .._bills, .._waived, month_changed_since {revision}, waiver_differs {vendor, what,
-- shown_nanousd, by_nanousd}, second_person_needed {by_nanousd, waived: [{what, vendor, reason, amount_nanousd}]}.
CREATE OR REPLACE FUNCTION close_month(p_now timestamptz, p_month date, p_by text, p_reason text, p_bills jsonb, p_waived jsonb, p_key text)
RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_first month_events;
    v_ends timestamptz := (p_month + interval '1 month')::timestamp AT TIME ZONE 'UTC';
    v_closed date;
    v_other date;
    v_count bigint;
    v_found record;
    v_refused jsonb;
    v_terms jsonb := coalesce(nullif(current_setting('remit.closing', true), ''), '{}');
    v_alone_nanousd numeric := coalesce((v_terms ->> 'alone_nanousd')::numeric, 0);
    v_came_to jsonb := '{}';
    v_waived jsonb;
    v_waived_nanousd numeric;
    v_totals jsonb;
    v_revision integer;
BEGIN
    PERFORM lock_tree(true);
    SELECT * INTO v_first FROM month_events WHERE key = p_key;
    IF FOUND THEN
        v_refused := closing_conflict(v_first, p_month, p_by, p_reason, p_bills, p_waived);
        RETURN coalesce(v_refused, jsonb_build_object('month', p_month, 'revision', v_first.revision, 'totals', v_first.totals,
                                                      'repeated', true));
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
        IF NOT is_waived(p_waived, 'suspense', v_found.vendor) THEN
            RETURN jsonb_build_object('refused', 'suspense_open', 'vendor', v_found.vendor, 'by_nanousd', v_found.amount_nanousd);
        END IF;
        v_came_to := v_came_to || jsonb_build_object('suspense:' || v_found.vendor, abs(v_found.amount_nanousd));
    END LOOP;
    FOR v_found IN
        SELECT vendor, coalesce(b.amount_nanousd, 0) AS owed, i.billed
        FROM booked_in(p_month) AS b
        FULL JOIN (SELECT x ->> 'vendor' AS vendor, sum((x ->> 'total_nanousd')::bigint)::bigint AS billed
                   FROM jsonb_array_elements(p_bills) AS x GROUP BY 1) AS i USING (vendor)
        ORDER BY vendor
    LOOP
        IF v_found.billed IS NULL AND v_found.owed <> 0 THEN
            IF NOT is_waived(p_waived, 'no_bill', v_found.vendor) THEN
                RETURN jsonb_build_object('refused', 'bill_missing', 'vendor', v_found.vendor, 'owed_nanousd', v_found.owed);
            END IF;
            v_came_to := v_came_to || jsonb_build_object('no_bill:' || v_found.vendor, abs(v_found.owed));
        ELSIF v_found.billed <> v_found.owed THEN
            IF NOT is_waived(p_waived, 'difference', v_found.vendor) THEN
                RETURN jsonb_build_object('refused', 'bill_differs', 'vendor', v_found.vendor, 'owed_nanousd', v_found.owed,
                                          'billed_nanousd', v_found.billed);
            END IF;
            v_came_to := v_came_to
                || jsonb_build_object('difference:' || v_found.vendor, abs(v_found.billed::numeric - v_found.owed));
        END IF;
    END LOOP;
    SELECT coalesce(sum(value::numeric), 0) INTO v_waived_nanousd FROM jsonb_each_text(v_came_to);
    SELECT coalesce(jsonb_agg((w.value - 'amount_nanousd') || jsonb_build_object(
                        'amount_nanousd', coalesce(v_came_to -> ((w.value ->> 'what') || ':' || (w.value ->> 'vendor')), '0'))
                    ORDER BY w.ordinality), '[]')
        INTO v_waived FROM jsonb_array_elements(p_waived) WITH ORDINALITY AS w;
    SELECT n.value INTO v_found
        FROM jsonb_array_elements(p_waived) WITH ORDINALITY AS a
        JOIN jsonb_array_elements(v_waived) WITH ORDINALITY AS n USING (ordinality)
        WHERE a.value ? 'amount_nanousd' AND a.value -> 'amount_nanousd' <> n.value -> 'amount_nanousd' LIMIT 1;
    IF FOUND THEN
        RETURN jsonb_build_object('refused', 'waiver_differs', 'what', v_found.value ->> 'what', 'vendor', v_found.value ->> 'vendor',
                                  'by_nanousd', v_found.value -> 'amount_nanousd');
    END IF;
    IF v_waived_nanousd > v_alone_nanousd AND NOT coalesce((v_terms ->> 'decided')::boolean, false) THEN
        RETURN jsonb_build_object('refused', 'second_person_needed', 'by_nanousd', v_waived_nanousd, 'waived', v_waived);
    END IF;
    p_waived := v_waived;
    SELECT jsonb_build_object(
        'charged_nanousd', coalesce(sum(b.amount_nanousd), 0), 'entries', coalesce(sum(b.entries), 0),
        'vendors', coalesce(jsonb_object_agg(b.vendor, b.amount_nanousd) FILTER (WHERE b.vendor IS NOT NULL), '{}'), 'bills', p_bills,
        'waived', p_waived, 'waived_nanousd', v_waived_nanousd, 'alone_nanousd', v_alone_nanousd,
        'last_seq', (SELECT coalesce(max(seq), 0) FROM entries)) INTO v_totals
    FROM booked_in(p_month) AS b;
    SELECT coalesce(max(revision), 0) + 1 INTO v_revision FROM month_events WHERE month = p_month;
    INSERT INTO month_events (month, revision, event, at, by, reason, key, totals)
    VALUES (p_month, v_revision, 'closed', p_now, p_by, p_reason, p_key, v_totals);
    UPDATE books SET closed_through = p_month;
    RETURN jsonb_build_object('month', p_month, 'revision', v_revision, 'totals', v_totals, 'repeated', false);
END
$$;

GRANT SELECT, INSERT ON cost_rule_agreements TO remit_authority;
GRANT SELECT ON cost_rule_agreements TO remit_reader;

RESET ROLE;
