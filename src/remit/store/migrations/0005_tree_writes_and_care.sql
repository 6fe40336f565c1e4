-- What the authority does around holds: keeping buckets true when limits change, reports, forecasts, upkeep.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- What the ledger says a node has used in one dimension between two instants.
CREATE FUNCTION ledger_sum(p_node text, p_dimension text, p_starts timestamptz, p_ends timestamptz) RETURNS bigint
LANGUAGE sql STABLE SET search_path = remit, pg_temp AS $$
    SELECT coalesce(sum(CASE p_dimension WHEN 'usd' THEN e.amount_nanousd
                                         WHEN 'tokens' THEN e.tokens ELSE e.requests END), 0)::bigint
    FROM entries AS e
    WHERE e.held_at >= p_starts AND e.held_at < p_ends AND is_spend(e.kind)
      AND (p_node = ANY (e.node_ids) OR p_node = ANY (e.block_ids))
$$;

-- Gives every hold that is open or in suspense and was taken in the period of this line its part on this bucket. One
-- with a part on the bucket of another calendar moves it here; to one from before the limit existed it is added.
CREATE FUNCTION move_holds_to(l wanted_line) RETURNS void
LANGUAGE sql SET search_path = remit, pg_temp AS $$
    UPDATE holds AS h
    SET lines = CASE WHEN p.known THEN p.moved ELSE h.lines || (l.node, l.dimension, l.kind, l.starts,
                    CASE l.dimension WHEN 'usd' THEN h.ceiling_nanousd
                                     WHEN 'tokens' THEN h.ceiling_tokens ELSE 1 END, 0)::hold_line END
    FROM holds AS same, LATERAL (
        SELECT coalesce(bool_or(x.of_node), false) AS known, coalesce(bool_or(x.of_node AND x.here), false) AS settled_in,
               array_agg((x.node_id, x.dimension, x.period_kind,
                          CASE WHEN x.of_node THEN l.starts ELSE x.period_start END,
                          x.amount, x.overdraft)::hold_line ORDER BY x.position) AS moved
        FROM (SELECT u.*, (u.node_id, u.dimension, u.period_kind) = (l.node, l.dimension, l.kind) AS of_node,
                     u.period_start = l.starts AS here
              FROM unnest(same.lines) WITH ORDINALITY
                   AS u (node_id, dimension, period_kind, period_start, amount, overdraft, position)) AS x) AS p
    WHERE h.id = same.id AND same.state IN ('open', 'expired')
      AND same.taken_at >= l.starts AND same.taken_at < l.ends
      AND (same.entry -> 'node_ids' ? l.node OR same.entry -> 'block_ids' ? l.node)
      AND NOT p.settled_in
$$;

-- Brings buckets in line with the limits as they are now written, where a limit or a calendar has changed. Excludes all
-- who take or end holds. Calls that began before a limit existed count against it like any other: what is posted
-- comes from the ledger, and open holds that have no line on the bucket get one. A bucket that covers a part of the same
-- period by another calendar is removed: the ledger keeps what was spent.
CREATE FUNCTION align_buckets(p_lines jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    l wanted_line;
    v_total bigint;
    v_overage bigint;
    v_debt bigint;
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
          AND e.kind IN ('overage', 'overdraft', 'repayment')
          AND (l.node = ANY (e.node_ids) OR l.node = ANY (e.block_ids));
        INSERT INTO buckets AS b (node_id, dimension, period_kind, period_start, period_end, target, limit_amount,
                                  posted, held, overage, overdraft_target, overdraft_limit, overdraft_posted,
                                  overdraft_held, page_percents)
        VALUES (l.node, l.dimension, l.kind, l.starts, l.ends, l."limit",
                greatest(l."limit", v_total - v_overage - v_debt + v_held),
                v_total - v_overage - v_debt, v_held, v_overage, coalesce(l.overdraft_limit, 0),
                greatest(coalesce(l.overdraft_limit, 0), v_debt + v_overdraft_held), v_debt, v_overdraft_held,
                coalesce(l.page_percents, '{}'))
        ON CONFLICT (node_id, dimension, period_kind, period_start) DO UPDATE
        SET (period_end, target, limit_amount, posted, held, overage, overdraft_target, overdraft_limit,
             overdraft_posted, overdraft_held, page_percents)
            = (excluded.period_end, excluded.target, excluded.limit_amount, excluded.posted, excluded.held,
               excluded.overage, excluded.overdraft_target, excluded.overdraft_limit, excluded.overdraft_posted,
               excluded.overdraft_held, excluded.page_percents);
    END LOOP;
END
$$;

-- The same for one grant after it was written: p_lines are its lines around now. Buckets of limits it has no more are
-- removed, except those whose period was over by p_over: these stay as they were.
CREATE FUNCTION align_grant(p_node text, p_over timestamptz, p_lines jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    PERFORM lock_tree(true);
    DELETE FROM buckets AS b
    WHERE b.node_id = p_node AND b.period_end > p_over
      AND (b.dimension, b.period_kind) NOT IN (
          SELECT l.dimension, l.kind FROM jsonb_populate_recordset(NULL::wanted_line, p_lines) AS l);
    PERFORM align_buckets(p_lines);
END
$$;

-- Corrects suspense entries by what a vendor's statement says: [{hold_id, usd, tokens, entry}, ...].
-- Rows whose hold is unknown or not in suspense change nothing and are answered as such.
CREATE FUNCTION apply_evidence(p_now timestamptz, p_evidence jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_row jsonb;
    v_hold holds;
    v_answers jsonb := '[]';
BEGIN
    PERFORM lock_tree(false);
    PERFORM lock_holds(ARRAY (SELECT e ->> 'hold_id' FROM jsonb_array_elements(p_evidence) AS e));
    FOR v_row IN SELECT jsonb_array_elements(p_evidence) LOOP
        SELECT * INTO v_hold FROM holds WHERE id = v_row ->> 'hold_id';
        IF NOT FOUND THEN
            v_answers := v_answers || '"unknown_hold"'::jsonb;
        ELSIF v_hold.state = 'open' THEN
            v_answers := v_answers || '"still_open"'::jsonb;
        ELSE
            v_answers := v_answers || to_jsonb(correct_suspense(
                v_hold, (v_row ->> 'usd')::bigint, (v_row ->> 'tokens')::bigint, v_row -> 'entry', p_now));
        END IF;
    END LOOP;
    RETURN v_answers;
END
$$;

-- A report to the security people about a request that was refused, once per grant and day.
CREATE FUNCTION report_to_security(p_now timestamptz, p_grant_id text, p_body jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
    INSERT INTO notifications (kind, audience, node_id, period_kind, period_start, body, created_at, next_attempt_at)
    SELECT 'class_mismatch', 'security', g.id, 'day', date_trunc('day', p_now),
           p_body || jsonb_build_object('path', g.path, 'owner', g.owner, 'class', g.class), p_now, p_now
    FROM grants AS g WHERE g.id = p_grant_id
    ON CONFLICT DO NOTHING
$$;

-- Pages on-call, once per period, for production buckets that are on course to run out before their period ends:
-- at least half is used, and at the average pace so far the rest will not last.
CREATE FUNCTION page_forecasts(p_now timestamptz) RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
    WITH used AS (
        SELECT b.*, g.path, g.owner, g.class, b.posted + b.overage + b.overdraft_posted AS used,
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
                                      secs => (elapsed_seconds * target / used)::double precision)),
               p_now, p_now
        FROM used
        WHERE used * 2 >= target AND used::numeric * period_seconds > target::numeric * elapsed_seconds
        ON CONFLICT DO NOTHING
        RETURNING 1
    )
    SELECT count(*)::integer FROM paged
$$;

-- Removes rate buckets nobody can use any more. They carry no money; history is in the ledger.
CREATE FUNCTION drop_spent_rate_buckets(p_now timestamptz) RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = remit, pg_temp AS $$
    WITH dropped AS (
        DELETE FROM buckets AS b USING (
            SELECT node_id, dimension, period_start FROM buckets
            WHERE period_kind = 'minute' AND period_end < p_now - interval '1 hour' AND held = 0
            FOR UPDATE SKIP LOCKED) AS spent
        WHERE b.period_kind = 'minute'
          AND (b.node_id, b.dimension, b.period_start) = (spent.node_id, spent.dimension, spent.period_start)
        RETURNING 1
    )
    SELECT count(*)::integer FROM dropped
$$;

GRANT EXECUTE ON FUNCTION align_grant(text, timestamptz, jsonb), apply_evidence(timestamptz, jsonb), 
    page_forecasts(timestamptz), drop_spent_rate_buckets(timestamptz) TO remit_authority;
GRANT EXECUTE ON FUNCTION report_to_security(timestamptz, text, jsonb) TO remit_gateway, remit_authority;
GRANT EXECUTE ON FUNCTION ledger_sum(text, text, timestamptz, timestamptz) TO remit_authority, remit_reader;

RESET ROLE;
