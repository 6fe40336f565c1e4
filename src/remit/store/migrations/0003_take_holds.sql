-- Taking holds: the ceiling on every node of the path, or on none.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- One line of a wanted hold, as a gateway sends it.
CREATE TYPE wanted_line AS (
    node text,
    dimension text,
    kind text,
    starts timestamptz,
    ends timestamptz,
    "limit" bigint,
    overdraft_limit bigint,
    amount bigint,
    pace_limit bigint,
    page_percents integer[]
);

CREATE FUNCTION wanted_lines(p_hold jsonb) RETURNS SETOF wanted_line
LANGUAGE sql STABLE SET search_path = remit, pg_temp AS $$
    SELECT * FROM jsonb_populate_recordset(NULL::wanted_line, p_hold -> 'lines')
$$;

-- Lines of a batch whose bucket does not exist while another one of the same node, dimension and kind covers a part of
-- its period: the node's calendar has changed. NULL where there is none, which is nearly always.
CREATE FUNCTION lines_of_new_calendars(p_holds jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = remit, pg_temp AS $$
    SELECT jsonb_agg(l) FROM (
        SELECT DISTINCT ON (l.node, l.dimension, l.kind, l.starts) l.*
        FROM jsonb_array_elements(p_holds) AS h, wanted_lines(h) AS l
        WHERE NOT EXISTS (SELECT FROM buckets AS b
                          WHERE (b.node_id, b.dimension, b.period_kind, b.period_start)
                                = (l.node, l.dimension, l.kind, l.starts))
          AND EXISTS (SELECT FROM buckets AS b
                      WHERE (b.node_id, b.dimension, b.period_kind) = (l.node, l.dimension, l.kind)
                        AND b.period_start < l.ends AND b.period_end > l.starts)) AS l
$$;

-- Makes the buckets of a batch exist and locks them, always in the order of their key: two batches that share
-- buckets can wait for each other but never deadlock.
CREATE FUNCTION open_wanted_buckets(p_holds jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = remit, pg_temp AS $$
BEGIN
    INSERT INTO buckets (node_id, dimension, period_kind, period_start, period_end, target, limit_amount,
                         overdraft_target, overdraft_limit, page_percents)
    SELECT DISTINCT ON (l.node, l.dimension, l.kind, l.starts)
           l.node, l.dimension, l.kind, l.starts, l.ends, l."limit", l."limit",
           coalesce(l.overdraft_limit, 0), coalesce(l.overdraft_limit, 0), coalesce(l.page_percents, '{}')
    FROM jsonb_array_elements(p_holds) AS h, wanted_lines(h) AS l
    WHERE NOT EXISTS (SELECT FROM buckets AS b
                      WHERE (b.node_id, b.dimension, b.period_kind, b.period_start)
                            = (l.node, l.dimension, l.kind, l.starts))
    ORDER BY l.node, l.dimension, l.kind, l.starts
    ON CONFLICT DO NOTHING;

    PERFORM FROM buckets AS b
    WHERE (b.node_id, b.dimension, b.period_kind, b.period_start) IN (
        SELECT l.node, l.dimension, l.kind, l.starts
        FROM jsonb_array_elements(p_holds) AS h, wanted_lines(h) AS l)
    ORDER BY b.node_id, b.dimension, b.period_kind, b.period_start
    FOR UPDATE;
END
$$;

-- The lines of one wanted hold that do not fit, as a JSON array, or NULL where all fit. Buckets are locked.
-- The one boundary rule: a line fits iff posted + overage + held + amount <= limit (+ escrowed overdraft), where what
-- was drawn from the overdraft is posted and held as well; a limit of 0 without overdraft admits nothing, not even what
-- costs nothing.
CREATE FUNCTION lines_that_do_not_fit(p_hold jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = remit, pg_temp AS $$
    SELECT jsonb_agg(jsonb_build_object(
               'node', l.node, 'dimension', l.dimension, 'kind', l.kind, 'starts', l.starts, 'ends', l.ends,
               'limit', b.target, 'overdraft_limit', b.overdraft_target,
               'posted', b.posted + b.overage + b.overdraft_posted, 'held', b.held + b.overdraft_held,
               'required', l.amount, 'paced', u.used <= b.target AND b.target > 0))
    FROM wanted_lines(p_hold) AS l
    JOIN buckets AS b ON (b.node_id, b.dimension, b.period_kind, b.period_start)
                         = (l.node, l.dimension, l.kind, l.starts),
         LATERAL (SELECT b.posted::numeric + b.overage + b.held + b.overdraft_posted + b.overdraft_held + l.amount
                         AS used) AS u
    WHERE (b.target = 0 AND b.overdraft_target = 0)
       OR u.used > b.target::numeric + b.overdraft_target
       OR u.used > l.pace_limit
$$;

-- Puts one wanted hold on its buckets; returns the lines as held.
CREATE FUNCTION hold_on_buckets(p_hold jsonb) RETURNS hold_line[]
LANGUAGE plpgsql SET search_path = remit, pg_temp AS $$
DECLARE
    v_lines hold_line[];
BEGIN
    WITH split AS (
        SELECT l.node, l.dimension, l.kind, l.starts,
               least(l.amount, greatest(b.target - b.posted - b.overage - b.held, 0)) AS amount,
               l.amount AS total
        FROM wanted_lines(p_hold) AS l
        JOIN buckets AS b ON (b.node_id, b.dimension, b.period_kind, b.period_start)
                             = (l.node, l.dimension, l.kind, l.starts)
    ), taken AS (
        UPDATE buckets AS b
        SET held = b.held + s.amount, overdraft_held = b.overdraft_held + s.total - s.amount
        FROM split AS s
        WHERE (b.node_id, b.dimension, b.period_kind, b.period_start) = (s.node, s.dimension, s.kind, s.starts)
        RETURNING b.node_id, b.dimension, b.period_kind, b.period_start, s.amount, s.total - s.amount AS overdraft
    )
    SELECT coalesce(array_agg((t.node_id, t.dimension, t.period_kind, t.period_start, t.amount, t.overdraft)::hold_line
                              ORDER BY t.node_id, t.dimension, t.period_kind, t.period_start), '{}')
    INTO v_lines FROM taken AS t;
    IF cardinality(v_lines) <> jsonb_array_length(p_hold -> 'lines') THEN
        RAISE EXCEPTION 'hold % names a bucket twice', p_hold ->> 'id';
    END IF;
    RETURN v_lines;
END
$$;

-- The usd line with the least left after this hold: {"node": id, "remaining": nano-USD, "limit": nano-USD}, or NULL where
-- no line is in money. What is left includes escrowed overdraft.
CREATE FUNCTION tightest(p_lines hold_line[]) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = remit, pg_temp AS $$
    SELECT jsonb_build_object('node', b.node_id, 'limit', b.target, 'remaining', greatest(r.remaining, 0))
    FROM unnest(p_lines) AS l
    JOIN buckets AS b ON (b.node_id, b.dimension, b.period_kind, b.period_start)
                         = (l.node_id, l.dimension, l.period_kind, l.period_start),
         LATERAL (SELECT b.target::numeric + b.overdraft_target
                         - b.posted - b.overage - b.held - b.overdraft_posted - b.overdraft_held AS remaining) AS r
    WHERE l.dimension = 'usd'
    ORDER BY greatest(r.remaining, 0), b.node_id
    LIMIT 1
$$;

-- Pages once per bucket that the cap was reached.
CREATE FUNCTION page_cap_reached(p_failures jsonb, p_now timestamptz) RETURNS void
LANGUAGE sql SET search_path = remit, pg_temp AS $$
    INSERT INTO notifications (kind, audience, node_id, dimension, threshold, period_kind, period_start, body,
                               created_at, next_attempt_at)
    SELECT 'cap_reached', CASE g.class WHEN 'production' THEN 'on_call' ELSE 'owner' END,
           g.id, f ->> 'dimension', 100, f ->> 'kind', (f ->> 'starts')::timestamptz,
           f || jsonb_build_object('path', g.path, 'owner', g.owner, 'class', g.class), p_now, p_now
    FROM jsonb_array_elements(p_failures) AS f
    JOIN grants AS g ON g.id = f ->> 'node'
    WHERE NOT (f ->> 'paced')::boolean AND f ->> 'kind' NOT IN ('minute', 'inflight')
    ON CONFLICT DO NOTHING
$$;

-- Decides a batch of wanted holds in order, each on every one of its lines or on none, in one transaction.
--
-- p_revision  the tree revision the gateway decided on
-- p_holds     [{id, operation_id, request_id, grant_id, taken_at, expires_at, ceiling_nanousd, ceiling_tokens,
--               lines: [wanted_line...], entry: {columns of entries known so far}}, ...]
-- Answers {"stale": current revision} and holds nothing, or
-- {"results": [{"taken": true, "tightest": ...} | {"taken": false, "failures": [...]}, ...]}. A hold id that is known already is
-- answered as taken and changes nothing.
CREATE FUNCTION take_holds(p_revision bigint, p_now timestamptz, p_holds jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_current bigint;
    v_hold jsonb;
    v_failures jsonb;
    v_lines hold_line[];
    v_results jsonb := '[]';
    v_new_calendars jsonb := lines_of_new_calendars(p_holds);
BEGIN
    PERFORM lock_tree(v_new_calendars IS NOT NULL);
    SELECT revision INTO STRICT v_current FROM tree_state;
    IF v_current <> p_revision THEN
        RETURN jsonb_build_object('stale', v_current);
    END IF;
    IF v_new_calendars IS NOT NULL THEN
        PERFORM align_buckets(v_new_calendars);
    END IF;
    PERFORM open_wanted_buckets(p_holds);
    FOR v_hold IN SELECT jsonb_array_elements(p_holds) LOOP
        SELECT lines INTO v_lines FROM holds WHERE id = v_hold ->> 'id';
        IF FOUND THEN
            v_results := v_results || jsonb_build_object('taken', true, 'tightest', tightest(v_lines));
            CONTINUE;
        END IF;
        v_failures := lines_that_do_not_fit(v_hold);
        IF v_failures IS NOT NULL THEN
            PERFORM page_cap_reached(v_failures, p_now);
            v_results := v_results || jsonb_build_object('taken', false, 'failures', v_failures);
            CONTINUE;
        END IF;
        v_lines := hold_on_buckets(v_hold);
        INSERT INTO holds (id, operation_id, request_id, grant_id, taken_at, expires_at, ceiling_nanousd,
                           ceiling_tokens, lines, entry)
        VALUES (v_hold ->> 'id', v_hold ->> 'operation_id', v_hold ->> 'request_id', v_hold ->> 'grant_id',
                (v_hold ->> 'taken_at')::timestamptz, (v_hold ->> 'expires_at')::timestamptz,
                (v_hold ->> 'ceiling_nanousd')::bigint, (v_hold ->> 'ceiling_tokens')::bigint,
                v_lines, v_hold -> 'entry');
        v_results := v_results || jsonb_build_object('taken', true, 'tightest', tightest(v_lines));
    END LOOP;
    RETURN jsonb_build_object('results', v_results);
END
$$;

GRANT EXECUTE ON FUNCTION take_holds(bigint, timestamptz, jsonb) TO remit_gateway, remit_authority;

RESET ROLE;
