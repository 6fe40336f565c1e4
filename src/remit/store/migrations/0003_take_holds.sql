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

-- Lines of a batch whose bucket does not exist while another one of the same node, dimension and kind covers, or did
-- cover, a part of its period: the node's calendar has changed. NULL where there is none, which is nearly always.
CREATE FUNCTION lines_of_new_calendars(p_lines wanted_line[]) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = remit, pg_temp AS $$
    SELECT jsonb_agg(l) FROM (
        SELECT DISTINCT ON (l.node, l.dimension, l.kind, l.starts) l.*
        FROM unnest(p_lines) AS l
        WHERE NOT EXISTS (SELECT FROM buckets AS b
                          WHERE (b.node_id, b.dimension, b.period_kind, b.period_start)
                                = (l.node, l.dimension, l.kind, l.starts))
          AND EXISTS (SELECT period_start, period_end FROM buckets AS b
                      WHERE (b.node_id, b.dimension, b.period_kind) = (l.node, l.dimension, l.kind)
                        AND b.period_start < l.ends AND b.period_end > l.starts
                      UNION ALL
                      SELECT period_start, period_end FROM replaced_buckets AS r
                      WHERE (r.node_id, r.dimension, r.period_kind) = (l.node, l.dimension, l.kind)
                        AND r.period_start < l.ends AND r.period_end > l.starts)) AS l
$$;

-- Makes the buckets of a batch exist and locks them, always in the order of their key: two batches that share
-- buckets can wait for each other but never deadlock.
CREATE FUNCTION open_wanted_buckets(p_lines wanted_line[]) RETURNS void
LANGUAGE plpgsql SET search_path = remit, pg_temp AS $$
BEGIN
    INSERT INTO buckets (node_id, dimension, period_kind, period_start, period_end, target, limit_amount,
                         overdraft_target, overdraft_limit, page_percents)
    SELECT DISTINCT ON (l.node, l.dimension, l.kind, l.starts)
           l.node, l.dimension, l.kind, l.starts, l.ends, l."limit", l."limit",
           coalesce(l.overdraft_limit, 0), coalesce(l.overdraft_limit, 0), coalesce(l.page_percents, '{}')
    FROM unnest(p_lines) AS l
    WHERE NOT EXISTS (SELECT FROM buckets AS b
                      WHERE (b.node_id, b.dimension, b.period_kind, b.period_start)
                            = (l.node, l.dimension, l.kind, l.starts))
    ORDER BY l.node, l.dimension, l.kind, l.starts
    ON CONFLICT DO NOTHING;

    PERFORM FROM buckets AS b
    WHERE (b.node_id, b.dimension, b.period_kind, b.period_start) IN (
        SELECT l.node, l.dimension, l.kind, l.starts FROM unnest(p_lines) AS l)
    ORDER BY b.node_id, b.dimension, b.period_kind, b.period_start
    FOR UPDATE;
END
$$;

-- Pages once per bucket that the cap was reached. A request too large for what is left of a limit that is hardly used is
-- its sender's mistake; the page is kept for the day the limit is used up.
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
      AND ((f ->> 'posted')::numeric + (f ->> 'held')::numeric) * 10 >= (f ->> 'limit')::numeric * 8
    ON CONFLICT DO NOTHING
$$;

-- A wanted line that did not fit, with the numbers of its bucket at that moment.
CREATE FUNCTION failure_of(p_line wanted_line, p_target numeric, p_overdraft numeric, p_posted numeric, p_held numeric)
RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object(
        'node', p_line.node, 'dimension', p_line.dimension, 'kind', p_line.kind, 'starts', p_line.starts,
        'ends', p_line.ends, 'limit', p_target, 'overdraft_limit', p_overdraft, 'posted', p_posted, 'held', p_held,
        'required', p_line.amount, 'paced', p_target > 0 AND p_posted + p_held + p_line.amount <= p_target)
$$;

-- Decides a batch of wanted holds in order, each on every one of its lines or on none, in one transaction.
--
-- The one boundary rule: a line fits iff posted + overage + held + amount <= limit (+ escrowed overdraft), where what
-- was drawn from the overdraft is posted and held as well; a limit of 0 without overdraft admits nothing, not even what
-- costs nothing.
--
-- p_revision  the tree revision the gateway decided on
-- p_holds     [{id, operation_id, request_id, grant_id, taken_at, expires_at, ceiling_nanousd, ceiling_tokens,
--               lines: [wanted_line...], entry: {columns of entries known so far}}, ...]
-- Answers {"stale": current revision} and holds nothing, or
-- {"results": [{"taken": true, "tightest": ...} | {"taken": false, "failures": [...]}, ...]}. A hold id that is known
-- already is answered as taken and changes nothing. `tightest` is the usd line with the least left after this hold,
-- {"node", "limit", "remaining"}, what is left including escrowed overdraft; NULL where no line is in money.
--
-- The batch's buckets are read once and written once, however many requests share them: while it is decided their
-- numbers are in arrays, one element a bucket, in the order of their keys.
CREATE FUNCTION take_holds(p_revision bigint, p_now timestamptz, p_holds jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC'
    -- Plans that are made once: for arrays and JSON the planner would otherwise plan anew at every call, which costs more
    -- than running. By index, because a plan made while a table is small outlives that.
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_current bigint;
    v_new_calendars jsonb;
    v_hold jsonb;
    v_results jsonb := '[]';
    v_failures jsonb;
    v_tightest jsonb;
    v_least numeric;
    v_left numeric;
    -- The batch's lines in order, with the number of their hold and the place of their bucket.
    v_wanted wanted_line[];
    v_of_hold integer[];
    v_places integer[];
    v_amounts bigint[];
    v_pace_limits bigint[];
    -- The buckets. Numeric, because sums of what fits into 64 bits may not.
    v_nodes text[];
    v_dimensions text[];
    v_kinds text[];
    v_starts timestamptz[];
    v_targets numeric[];
    v_overdrafts numeric[];
    v_posted numeric[];           -- posted + overage + overdraft_posted
    v_used numeric[];             -- posted + overage + held
    v_lent numeric[];             -- overdraft_posted + overdraft_held
    v_number integer := 0;
    v_first integer;
    v_last integer := 0;
    v_count integer;
    p integer;
    v_own bigint;
    v_lines hold_line[];
BEGIN
    SELECT array_agg(l.line ORDER BY l.number), array_agg(l.number ORDER BY l.number)
    INTO v_wanted, v_of_hold
    FROM (SELECT h.number::integer, w::wanted_line AS line
          FROM jsonb_array_elements(p_holds) WITH ORDINALITY AS h (body, number), wanted_lines(h.body) AS w) AS l;
    v_count := coalesce(cardinality(v_wanted), 0);
    v_new_calendars := lines_of_new_calendars(v_wanted);
    PERFORM lock_tree(v_new_calendars IS NOT NULL);
    SELECT revision INTO STRICT v_current FROM tree_state;
    IF v_current <> p_revision THEN
        RETURN jsonb_build_object('stale', v_current);
    END IF;
    IF v_new_calendars IS NOT NULL THEN
        PERFORM align_buckets(v_new_calendars);
    END IF;
    PERFORM open_wanted_buckets(v_wanted);
    WITH b AS MATERIALIZED (
        SELECT *, row_number() OVER (ORDER BY node_id, dimension, period_kind, period_start)::integer AS place
        FROM buckets
        WHERE (node_id, dimension, period_kind, period_start) IN (
            SELECT l.node, l.dimension, l.kind, l.starts FROM unnest(v_wanted) AS l)
    ), placed AS (
        SELECT array_agg(b.place ORDER BY l.ordinality) AS places, array_agg(l.amount ORDER BY l.ordinality) AS amounts,
               array_agg(l.pace_limit ORDER BY l.ordinality) AS pace_limits
        FROM unnest(v_wanted) WITH ORDINALITY AS l
        JOIN b ON (b.node_id, b.dimension, b.period_kind, b.period_start) = (l.node, l.dimension, l.kind, l.starts)
    )
    SELECT (SELECT places FROM placed), (SELECT amounts FROM placed), (SELECT pace_limits FROM placed),
           array_agg(b.node_id ORDER BY b.place), array_agg(b.dimension ORDER BY b.place),
           array_agg(b.period_kind ORDER BY b.place), array_agg(b.period_start ORDER BY b.place),
           array_agg(b.target::numeric ORDER BY b.place), array_agg(b.overdraft_target::numeric ORDER BY b.place),
           array_agg(b.posted::numeric + b.overage + b.overdraft_posted ORDER BY b.place),
           array_agg(b.posted::numeric + b.overage + b.held ORDER BY b.place),
           array_agg(b.overdraft_posted::numeric + b.overdraft_held ORDER BY b.place)
    INTO v_places, v_amounts, v_pace_limits, v_nodes, v_dimensions, v_kinds, v_starts, v_targets, v_overdrafts, v_posted,
         v_used, v_lent
    FROM b;

    FOR v_hold IN SELECT jsonb_array_elements(p_holds) LOOP
        v_number := v_number + 1;
        v_first := v_last + 1;
        WHILE v_last < v_count AND v_of_hold[v_last + 1] = v_number LOOP
            v_last := v_last + 1;
        END LOOP;
        IF EXISTS (SELECT FROM holds WHERE id = v_hold ->> 'id') THEN
            v_results := v_results || '{"taken": true, "tightest": null}'::jsonb;
            CONTINUE;
        END IF;
        v_failures := NULL;
        FOR i IN v_first .. v_last LOOP
            p := v_places[i];
            v_left := v_targets[p] + v_overdrafts[p] - v_used[p] - v_lent[p];
            IF (v_targets[p] = 0 AND v_overdrafts[p] = 0) OR v_amounts[i] > v_left
               OR coalesce(v_used[p] + v_lent[p] + v_amounts[i] > v_pace_limits[i], false) THEN
                v_failures := coalesce(v_failures, '[]') || failure_of(
                    v_wanted[i], v_targets[p], v_overdrafts[p], v_posted[p], v_used[p] + v_lent[p] - v_posted[p]);
            END IF;
        END LOOP;
        IF v_failures IS NOT NULL THEN
            PERFORM page_cap_reached(v_failures, p_now);
            v_results := v_results || jsonb_build_object('taken', false, 'failures', v_failures);
            CONTINUE;
        END IF;
        v_lines := '{}';
        v_tightest := NULL;
        v_least := NULL;
        FOR i IN v_first .. v_last LOOP
            p := v_places[i];
            IF p = ANY (v_places[v_first : i - 1]) THEN
                RAISE EXCEPTION 'hold % names a bucket twice', v_hold ->> 'id';
            END IF;
            v_own := least(v_amounts[i], greatest(v_targets[p] - v_used[p], 0));
            v_used[p] := v_used[p] + v_own;
            v_lent[p] := v_lent[p] + v_amounts[i] - v_own;
            v_lines := v_lines || (v_nodes[p], v_dimensions[p], v_kinds[p], v_starts[p], v_own,
                                   v_amounts[i] - v_own)::hold_line;
            v_left := v_targets[p] + v_overdrafts[p] - v_used[p] - v_lent[p];
            IF v_dimensions[p] = 'usd' AND (v_least IS NULL OR v_left < v_least) THEN
                v_least := v_left;
                v_tightest := jsonb_build_object('node', v_nodes[p], 'limit', v_targets[p],
                                                 'remaining', greatest(v_left, 0));
            END IF;
        END LOOP;
        INSERT INTO holds (id, operation_id, request_id, grant_id, taken_at, expires_at, ceiling_nanousd,
                           ceiling_tokens, lines, entry)
        VALUES (v_hold ->> 'id', v_hold ->> 'operation_id', v_hold ->> 'request_id', v_hold ->> 'grant_id',
                (v_hold ->> 'taken_at')::timestamptz, (v_hold ->> 'expires_at')::timestamptz,
                (v_hold ->> 'ceiling_nanousd')::bigint, (v_hold ->> 'ceiling_tokens')::bigint,
                v_lines, v_hold -> 'entry');
        v_results := v_results || jsonb_build_object('taken', true, 'tightest', v_tightest);
    END LOOP;

    UPDATE buckets AS b
    SET held = n.used - b.posted - b.overage, overdraft_held = n.lent - b.overdraft_posted
    FROM unnest(v_nodes, v_dimensions, v_kinds, v_starts, v_used, v_lent)
         AS n (node, dimension, kind, starts, used, lent)
    WHERE (b.node_id, b.dimension, b.period_kind, b.period_start) = (n.node, n.dimension, n.kind, n.starts)
      AND (b.posted::numeric + b.overage + b.held <> n.used
           OR b.overdraft_posted::numeric + b.overdraft_held <> n.lent);
    RETURN jsonb_build_object('results', v_results);
END
$$;

GRANT EXECUTE ON FUNCTION take_holds(bigint, timestamptz, jsonb) TO remit_gateway, remit_authority;

RESET ROLE;
