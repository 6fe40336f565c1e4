-- Debt: what a limit's overdraft lent is repaid out of a later period of the same limit, or forgiven by a person.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- Takers of holds wait until all of this is done: first, as everybody takes this lock before any other.
SELECT lock_tree(true);

-- A debt's account is that of a grant and a period kind: its entries are those with this debtor and debt_period.
--   overdraft   what was lent
--   repayment   what was paid back: by evidence that a call cost less (of the call's hold), or out of a later period
--   adjustment  what was forgiven
-- An entry that settles a debt belongs to no call. `settlement` says so, and how it came about: {key, by, how, asked_nanousd,
-- outstanding_nanousd: what was still owed afterwards}, or {key, by, returns: the id of the entry that it takes back}.
ALTER TABLE entries
    ADD COLUMN settlement jsonb,
    ALTER COLUMN vendor DROP NOT NULL, ALTER COLUMN deployment DROP NOT NULL, ALTER COLUMN model_requested DROP NOT NULL,
    ALTER COLUMN price_source DROP NOT NULL, ALTER COLUMN usage_source DROP NOT NULL,
    ALTER COLUMN request_id DROP NOT NULL, ALTER COLUMN operation_id DROP NOT NULL, ALTER COLUMN hold_id DROP NOT NULL,
    ALTER COLUMN policy_version DROP NOT NULL, ALTER COLUMN decision_id DROP NOT NULL,
    DROP CONSTRAINT debt_names_its_debtor, DROP CONSTRAINT repayment_lowers_a_debt;
ALTER TABLE entries
    ADD CONSTRAINT debt_names_its_debtor CHECK ((kind IN ('overdraft', 'repayment', 'adjustment')) = (debtor_id IS NOT NULL)
                                                AND (debtor_id IS NULL) = (debt_period IS NULL)),
    ADD CONSTRAINT calls_are_told_in_full CHECK (settlement IS NOT NULL OR num_nulls(
        vendor, deployment, model_requested, price_source, usage_source, request_id, operation_id, hold_id, policy_version,
        decision_id) = 0),
    ADD CONSTRAINT only_debts_are_settled CHECK (CASE WHEN settlement IS NULL THEN kind <> 'adjustment'
        ELSE kind IN ('repayment', 'adjustment') AND settlement ?& '{key,by}' AND (tokens, requests) = (0, 0) END),
    ADD CONSTRAINT settling_lowers_a_debt CHECK (kind NOT IN ('repayment', 'adjustment') OR amount_nanousd <= 0
                                                 OR coalesce(settlement ? 'returns', false));
-- Settled once for each key, whatever other guard failed.
CREATE UNIQUE INDEX entries_settle_a_debt_once ON entries ((settlement ->> 'key')) WHERE settlement IS NOT NULL;
-- The accounts: nothing in here is of a call that stayed within its limits.
CREATE INDEX entries_debts ON entries (debtor_id, debt_period, held_at, seq) INCLUDE (amount_nanousd)
    WHERE debtor_id IS NOT NULL;

-- Experiments that were booked as production: nearly none, and looked for grant by grant.
CREATE INDEX entries_of_experiments_in_production ON entries (grant_id)
    WHERE class = 'experimentation' AND tags ->> 'environment' IN ('production', 'prod');

-- As in 0002. An adjustment is no spend either: what was lent and is forgiven was spent by the call it was lent to.
CREATE OR REPLACE FUNCTION is_spend(p_kind text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$ SELECT p_kind NOT IN ('overdraft', 'repayment', 'adjustment') $$;

-- As in 0009. Entries without a settlement have no value in it and keep the hash they were, and are, written with.
CREATE OR REPLACE FUNCTION hash_of(p_entry entries) RETURNS bytea
LANGUAGE sql STABLE SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
    SELECT sha256(convert_to((to_jsonb(p_entry) - 'seq' - 'entry_hash'
                              - CASE WHEN p_entry.periods IS NULL THEN 'periods' ELSE '' END
                              - CASE WHEN p_entry.settlement IS NULL THEN 'settlement' ELSE '' END)::text, 'UTF8'))
$$;

-- Buckets -------------------------------------------------------------------------------------------------------

-- The part of `posted` that repaid debts of earlier periods: used like what was spent, and no spend.
ALTER TABLE buckets ADD COLUMN repaid bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT repaid_is_a_part_of_posted CHECK (repaid BETWEEN 0 AND posted);

-- What the ledger says that a node repaid, in nano-USD, out of its limit of one kind between two instants.
CREATE FUNCTION repaid_sum(p_node text, p_kind text, p_starts timestamptz, p_ends timestamptz) RETURNS bigint
LANGUAGE sql STABLE SET search_path = remit, pg_temp AS $$
    SELECT coalesce(-sum(e.amount_nanousd), 0)::bigint FROM entries AS e
    WHERE (e.debtor_id, e.debt_period) = (p_node, p_kind) AND e.held_at >= p_starts AND e.held_at < p_ends
      AND e.kind = 'repayment' AND e.settlement IS NOT NULL
$$;

-- As in 0005, and what a grant repaid out of the period is posted with what was spent in it.
CREATE OR REPLACE FUNCTION align_buckets(p_lines jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    l wanted_line;
    v_total bigint;
    v_overage bigint;
    v_debt bigint;
    v_repaid bigint;
    v_held bigint;
    v_overdraft_held bigint;
BEGIN
    PERFORM lock_tree(true);
    FOR l IN SELECT * FROM jsonb_populate_recordset(NULL::wanted_line, p_lines) LOOP
        WITH replaced AS (
            DELETE FROM buckets AS b
            WHERE (b.node_id, b.dimension, b.period_kind) = (l.node, l.dimension, l.kind)
              AND b.period_start < l.ends AND b.period_end > l.starts AND b.period_start <> l.starts
            RETURNING b.node_id, b.dimension, b.period_kind, b.period_start, b.period_end
        )
        INSERT INTO replaced_buckets SELECT * FROM replaced ON CONFLICT DO NOTHING;
        PERFORM move_holds_to(l);
        SELECT coalesce(sum(x.amount), 0), coalesce(sum(x.overdraft), 0) INTO v_held, v_overdraft_held
        FROM holds AS h, unnest(h.lines) AS x
        WHERE h.state = 'open' AND (x.node_id, x.dimension, x.period_kind, x.period_start)
                                   = (l.node, l.dimension, l.kind, l.starts);
        v_total := CASE l.kind WHEN 'inflight' THEN 0 ELSE ledger_sum(l.node, l.dimension, l.starts, l.ends) END;
        SELECT coalesce(sum(e.amount_nanousd) FILTER (WHERE e.kind = 'overage'), 0),
               coalesce(sum(e.amount_nanousd) FILTER (WHERE e.debtor_id = l.node AND e.debt_period = l.kind), 0)
        INTO v_overage, v_debt
        FROM entries AS e
        WHERE l.dimension = 'usd' AND e.held_at >= l.starts AND e.held_at < l.ends
          AND e.kind IN ('overage', 'overdraft', 'repayment') AND e.settlement IS NULL
          AND (l.node = ANY (e.node_ids) OR l.node = ANY (e.block_ids));
        v_repaid := CASE l.dimension WHEN 'usd' THEN repaid_sum(l.node, l.kind, l.starts, l.ends) ELSE 0 END;
        v_total := v_total - v_overage - v_debt + v_repaid;
        INSERT INTO buckets AS b (node_id, dimension, period_kind, period_start, period_end, target, limit_amount,
                                  posted, held, overage, overdraft_target, overdraft_limit, overdraft_posted,
                                  overdraft_held, page_percents, repaid)
        VALUES (l.node, l.dimension, l.kind, l.starts, l.ends, l."limit", greatest(l."limit", v_total + v_held),
                v_total, v_held, v_overage, coalesce(l.overdraft_limit, 0),
                greatest(coalesce(l.overdraft_limit, 0), v_debt + v_overdraft_held), v_debt, v_overdraft_held,
                coalesce(l.page_percents, '{}'), v_repaid)
        ON CONFLICT (node_id, dimension, period_kind, period_start) DO UPDATE
        SET (period_end, target, limit_amount, posted, held, overage, overdraft_target, overdraft_limit,
             overdraft_posted, overdraft_held, page_percents, repaid)
            = (excluded.period_end, excluded.target, excluded.limit_amount, excluded.posted, excluded.held,
               excluded.overage, excluded.overdraft_target, excluded.overdraft_limit, excluded.overdraft_posted,
               excluded.overdraft_held, excluded.page_percents, excluded.repaid);
    END LOOP;
END
$$;

-- As in 0005, and what was repaid at the beginning of a period says nothing about the pace of spending in it: the rest of the
-- limit is what has to last.
CREATE OR REPLACE FUNCTION page_forecasts(p_now timestamptz) RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
    WITH used AS (
        SELECT b.*, g.path, g.owner, g.class, b.posted + b.overage + b.overdraft_posted AS used,
               b.posted + b.overage + b.overdraft_posted - b.repaid AS spent,
               greatest(b.target - b.repaid, 0) AS for_spending,
               extract(epoch FROM p_now - b.period_start) AS elapsed_seconds,
               extract(epoch FROM b.period_end - b.period_start) AS period_seconds
        FROM buckets AS b JOIN grants AS g ON g.id = b.node_id
        WHERE g.class = 'production' AND g.status = 'active' AND b.dimension = 'usd' AND b.target > 0
          AND b.period_kind NOT IN ('minute', 'inflight', 'once')
          AND p_now > b.period_start AND p_now < b.period_end
    ), paged AS (
        INSERT INTO notifications (kind, audience, node_id, dimension, period_kind, period_start, body, created_at,
                                   next_attempt_at)
        SELECT 'forecast_exhaustion', 'on_call', node_id, dimension, period_kind, period_start,
               jsonb_build_object('path', path, 'owner', owner, 'class', class, 'limit', target, 'posted', used,
                                  'runs_out_at', period_start + make_interval(
                                      secs => (elapsed_seconds * for_spending / spent)::double precision)),
               p_now, p_now
        FROM used
        WHERE used * 2 >= target AND spent::numeric * period_seconds > for_spending::numeric * elapsed_seconds
        ON CONFLICT DO NOTHING
        RETURNING 1
    )
    SELECT count(*)::integer FROM paged
$$;

-- Settling ------------------------------------------------------------------------------------------------------

-- Appends an entry that settles a debt, or takes such an entry back.
CREATE FUNCTION append_settlement(p_node text, p_period_kind text, p_kind text, p_amount_nanousd bigint, p_periods jsonb,
                                  p_settlement jsonb, p_note text, p_held_at timestamptz, p_now timestamptz) RETURNS void
LANGUAGE sql SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
    INSERT INTO entries (id, kind, amount_nanousd, grant_id, grant_path, node_ids, block_ids, debtor_id, debt_period, class,
                         owner, tags, tokens, requests, periods, settlement, note, held_at, recorded_at, entry_hash)
    SELECT 'entry_0' || left(encode(sha256(convert_to(p_settlement ->> 'key', 'UTF8')), 'hex'), 25), p_kind,
           p_amount_nanousd, g.id, g.path,
           ARRAY (SELECT a.id FROM grants AS a WHERE g.path = a.path OR starts_with(g.path, a.path || '/')
                  ORDER BY length(a.path)),
           '{}', g.id, p_period_kind, g.class, g.owner, '{}', 0, 0, p_periods, p_settlement, p_note, p_held_at, p_now, '\x'
    FROM grants AS g WHERE g.id = p_node
$$;

-- Settles a grant's debt of one period kind: repays it out of the period that holds p_now, or forgives it.
--
-- p_how       repay: as much of p_amount_nanousd as was lent before that period began and as fits into the grant's own limit
--             now (posted + overage + held + amount <= limit) counts as used in it; what does not fit is still owed. Grants
--             above are not charged: they were when the call was made. forgive: uses nothing.
-- p_key       one settlement for each; asked for again it is answered as the first time
-- p_revision, p_line  to repay: the tree revision that was read, and the grant's own line of this kind at p_now, or NULL
--             where it has no such limit
--
-- Answers {"settled", "outstanding", "repeated"} in nano-USD, {"stale": current revision}, or {"refused": code, ...} and
-- changes nothing. Codes: no_debt, more_than_owed, no_limit, period_not_over, no_room, conflict_different_<field>.
-- Alone with the books, so that nothing is lent or paid back meanwhile.
CREATE FUNCTION settle_debt(p_now timestamptz, p_node text, p_period_kind text, p_amount_nanousd bigint, p_how text,
                            p_by text, p_note text, p_key text, p_revision bigint, p_line jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    l wanted_line;
    v_first entries;
    v_bucket buckets;
    v_owed bigint;
    v_amount bigint := p_amount_nanousd;
    v_room numeric;
    v_revision bigint;
    v_settlement jsonb;
BEGIN
    IF p_how NOT IN ('repay', 'forgive') OR p_amount_nanousd <= 0 OR p_how IS NULL OR p_amount_nanousd IS NULL THEN
        RAISE EXCEPTION 'a debt cannot be settled by % of %', p_how, p_amount_nanousd USING ERRCODE = 'check_violation';
    END IF;
    PERFORM lock_tree(true);
    SELECT * INTO v_first FROM entries WHERE settlement IS NOT NULL AND settlement ->> 'key' = p_key;
    IF FOUND THEN
        RETURN CASE WHEN v_first.debtor_id <> p_node THEN '{"refused": "conflict_different_grant"}'
                    WHEN v_first.debt_period <> p_period_kind THEN '{"refused": "conflict_different_period"}'
                    WHEN v_first.settlement ->> 'how' IS DISTINCT FROM p_how THEN '{"refused": "conflict_different_how"}'
                    WHEN (v_first.settlement ->> 'asked_nanousd')::bigint <> p_amount_nanousd
                        THEN '{"refused": "conflict_different_amount"}'
                    ELSE jsonb_build_object('settled', -v_first.amount_nanousd, 'repeated', true,
                                            'outstanding', v_first.settlement -> 'outstanding_nanousd') END;
    END IF;
    v_owed := (SELECT coalesce(sum(amount_nanousd), 0) FROM entries
               WHERE (debtor_id, debt_period) = (p_node, p_period_kind));
    IF v_owed <= 0 THEN
        RETURN jsonb_build_object('refused', 'no_debt');
    ELSIF p_amount_nanousd > v_owed THEN
        RETURN jsonb_build_object('refused', 'more_than_owed', 'outstanding', v_owed);
    END IF;
    IF p_how = 'repay' THEN
        SELECT revision INTO STRICT v_revision FROM tree_state;
        IF v_revision IS DISTINCT FROM p_revision THEN
            RETURN jsonb_build_object('stale', v_revision);
        ELSIF p_line IS NULL THEN
            RETURN jsonb_build_object('refused', 'no_limit', 'outstanding', v_owed);
        END IF;
        l := jsonb_populate_record(NULL::wanted_line, p_line);
        IF (l.node, l.dimension, l.kind) IS DISTINCT FROM (p_node, 'usd', p_period_kind)
           OR NOT (l.starts <= p_now AND p_now < l.ends) THEN
            RAISE EXCEPTION 'line % is not the one the debt is repaid from', p_line USING ERRCODE = 'check_violation';
        END IF;
        -- What was settled so far counts for the oldest debts.
        v_amount := least(p_amount_nanousd, (
            SELECT coalesce(sum(amount_nanousd), 0) FROM entries
            WHERE (debtor_id, debt_period) = (p_node, p_period_kind) AND (held_at < l.starts OR settlement IS NOT NULL)));
        IF v_amount <= 0 THEN
            RETURN jsonb_build_object('refused', 'period_not_over', 'outstanding', v_owed, 'ends', l.ends);
        END IF;
        IF lines_of_new_calendars(ARRAY [l]) IS NOT NULL THEN
            PERFORM align_buckets(jsonb_build_array(p_line));
        END IF;
        PERFORM open_wanted_buckets(ARRAY [l]);
        SELECT * INTO STRICT v_bucket FROM buckets
        WHERE (node_id, dimension, period_kind, period_start) = (l.node, l.dimension, l.kind, l.starts);
        v_room := v_bucket.target::numeric - v_bucket.posted - v_bucket.overage - v_bucket.held;
        IF v_room <= 0 THEN
            RETURN jsonb_build_object('refused', 'no_room', 'outstanding', v_owed, 'limit', v_bucket.target,
                                      'ends', l.ends);
        END IF;
        v_amount := least(v_amount, v_room);
        UPDATE buckets SET posted = posted + v_amount, repaid = repaid + v_amount
        WHERE (node_id, dimension, period_kind, period_start) = (l.node, l.dimension, l.kind, l.starts);
        PERFORM page_thresholds(ARRAY [l.node], ARRAY [l.dimension], ARRAY [l.kind], ARRAY [l.starts], p_now);
    END IF;
    v_settlement := jsonb_build_object('key', p_key, 'by', p_by, 'how', p_how, 'asked_nanousd', p_amount_nanousd,
                                       'outstanding_nanousd', v_owed - v_amount);
    PERFORM append_settlement(
        p_node, p_period_kind, CASE p_how WHEN 'repay' THEN 'repayment' ELSE 'adjustment' END, -v_amount,
        CASE p_how WHEN 'repay' THEN jsonb_build_array(jsonb_build_object('node', l.node, 'kind', l.kind,
                                                                          'start', l.starts)) ELSE '[]' END,
        v_settlement, p_note, p_now, p_now);
    RETURN jsonb_build_object('settled', v_amount, 'outstanding', v_owed - v_amount, 'repeated', false);
END
$$;

-- Takes settlements back, the newest first and repayments before what was forgiven, where evidence about a call came after its
-- debt was settled and shows that less was lent. A repayment goes back to the period it came out of. Answers how much.
CREATE FUNCTION return_overpaid(p_now timestamptz, p_node text, p_period_kind text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_over bigint;
    v_returned bigint := 0;
    v_part bigint;
    e record;
BEGIN
    PERFORM lock_tree(true);
    v_over := (SELECT coalesce(-sum(amount_nanousd), 0) FROM entries
               WHERE (debtor_id, debt_period) = (p_node, p_period_kind));
    FOR e IN
        SELECT s.id, s.kind, s.held_at, s.periods, count(r.id) AS returns,
               (-s.amount_nanousd - coalesce(sum(r.amount_nanousd), 0))::bigint AS amount
        FROM entries AS s LEFT JOIN entries AS r ON (r.debtor_id, r.debt_period) = (p_node, p_period_kind)
                                                    AND r.settlement ->> 'returns' = s.id
        WHERE (s.debtor_id, s.debt_period) = (p_node, p_period_kind) AND s.settlement IS NOT NULL
          AND NOT s.settlement ? 'returns'
        GROUP BY s.seq
        ORDER BY s.kind = 'repayment' DESC, s.seq DESC
    LOOP
        v_part := least(v_over - v_returned, e.amount);
        CONTINUE WHEN v_part <= 0;
        v_returned := v_returned + v_part;
        UPDATE buckets AS b
        SET posted = b.posted - v_part, repaid = b.repaid - v_part, limit_amount = greatest(b.target, b.posted - v_part + b.held)
        WHERE e.kind = 'repayment' AND (b.node_id, b.dimension, b.period_kind) = (p_node, 'usd', p_period_kind)
          AND b.period_start <= e.held_at AND b.period_end > e.held_at;
        PERFORM append_settlement(
            p_node, p_period_kind, e.kind, v_part, e.periods,
            jsonb_build_object('key', 'returns ' || e.id || ' ' || e.returns, 'by', 'remit', 'returns', e.id),
            'less was lent than had been settled', e.held_at, p_now);
    END LOOP;
    RETURN v_returned;
END
$$;

GRANT EXECUTE ON FUNCTION settle_debt(timestamptz, text, text, bigint, text, text, text, text, bigint, jsonb),
    return_overpaid(timestamptz, text, text) TO remit_authority;
GRANT EXECUTE ON FUNCTION repaid_sum(text, text, timestamptz, timestamptz) TO remit_authority, remit_reader;

RESET ROLE;
