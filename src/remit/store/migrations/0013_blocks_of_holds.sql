-- A hold makes the blocks of its capability known, within the number of children their parents may have, and uses up the proof
-- of possession it was asked for with: in the one step in which it is taken.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- The parent of a chain's first unknown block, where it has as many living children as it may have: {"block", "max_children",
-- "living", "next_at"}, `next_at` being when the first of them will have expired. NULL where there is room. What follows the
-- first unknown block has parents without children.
CREATE FUNCTION full_parent(p_blocks jsonb, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_parent jsonb;
    v_block jsonb;
    v_living bigint;
    v_next timestamptz;
BEGIN
    FOR v_block IN SELECT jsonb_array_elements(p_blocks) LOOP
        EXIT WHEN NOT EXISTS (SELECT FROM capability_blocks WHERE id = v_block ->> 'id');
        v_parent := v_block;
    END LOOP;
    IF v_parent IS NULL OR v_parent = v_block THEN
        RETURN NULL;
    END IF;
    SELECT count(*), min(c.not_after) INTO v_living, v_next
    FROM capability_blocks AS c
    WHERE c.parent_id = v_parent ->> 'id' AND c.not_after > p_now
      AND NOT EXISTS (SELECT FROM revocations AS r WHERE r.kind = 'block' AND r.subject = c.id);
    IF v_living < (v_parent ->> 'max_children')::bigint THEN
        RETURN NULL;
    END IF;
    RETURN jsonb_build_object('block', v_parent ->> 'id', 'max_children', (v_parent ->> 'max_children')::bigint,
                              'living', v_living, 'next_at', v_next);
END
$$;

-- Records the blocks of a chain a hold is being taken on, and when each was first held on.
CREATE FUNCTION make_blocks_known(p_grant_id text, p_chain jsonb, p_now timestamptz) RETURNS void
LANGUAGE sql SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
    INSERT INTO capability_blocks AS c (id, parent_id, grant_id, kid, issued_at, not_after, max_children, limits,
                                        first_held_at, recorded_at)
    SELECT b.body ->> 'id', lag(b.body ->> 'id') OVER (ORDER BY b.number), p_grant_id, p_chain ->> 'kid',
           (p_chain ->> 'issued_at')::timestamptz, (b.body ->> 'not_after')::timestamptz,
           (b.body ->> 'max_children')::bigint, b.body -> 'limits', p_now, p_now
    FROM jsonb_array_elements(p_chain -> 'blocks') WITH ORDINALITY AS b (body, number)
    ORDER BY b.number
    ON CONFLICT (id) DO UPDATE SET first_held_at = excluded.first_held_at WHERE c.first_held_at IS NULL
$$;

-- As in 0003, and a hold may name the blocks of its chain and a proof of possession:
--   chain  {kid, issued_at, blocks: [{id, not_after, max_children, limits}, ...]} from the issuer's block to the last one, given
--          where the gateway does not know that all of them are known here. They become known with the hold, or not at all.
--   proof  {id (hex), expires_at}: used up by the hold; good for one.
-- A hold is also refused by {"taken": false, "replayed": true}, and by {"taken": false, "full": see full_parent}. These come
-- before lines that do not fit.
CREATE OR REPLACE FUNCTION take_holds(p_revision bigint, p_now timestamptz, p_holds jsonb) RETURNS jsonb
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
    v_full jsonb;
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
    IF jsonb_path_exists(p_holds, '$[*].chain') THEN
        -- One batch at a time makes blocks known, so that two cannot both take their parent's last place. Always between
        -- the tree's lock and those of buckets.
        PERFORM pg_advisory_xact_lock(7237495);
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
        IF v_hold ? 'proof' AND EXISTS (SELECT FROM used_proofs WHERE id = decode(v_hold #>> '{proof,id}', 'hex')) THEN
            v_results := v_results || '{"taken": false, "replayed": true}'::jsonb;
            CONTINUE;
        END IF;
        v_full := CASE WHEN v_hold ? 'chain' THEN full_parent(v_hold #> '{chain,blocks}', p_now) END;
        IF v_full IS NOT NULL THEN
            v_results := v_results || jsonb_build_object('taken', false, 'full', v_full);
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
        IF v_hold ? 'proof' THEN
            INSERT INTO used_proofs (id, expires_at)
            VALUES (decode(v_hold #>> '{proof,id}', 'hex'), (v_hold #>> '{proof,expires_at}')::timestamptz)
            ON CONFLICT DO NOTHING;
            IF NOT FOUND THEN
                -- Another gateway used it since it was looked for.
                v_results := v_results || '{"taken": false, "replayed": true}'::jsonb;
                CONTINUE;
            END IF;
        END IF;
        IF v_hold ? 'chain' THEN
            PERFORM make_blocks_known(v_hold ->> 'grant_id', v_hold -> 'chain', p_now);
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

-- Removes what is known of blocks a day after their time was up, with their buckets, and proofs that are too old to be
-- accepted anyway. Never before: a bucket that went early would come back empty. A block of an open hold stays.
CREATE FUNCTION drop_spent_blocks(p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_ids text[];
BEGIN
    DELETE FROM used_proofs WHERE expires_at < p_now;
    IF NOT EXISTS (SELECT FROM capability_blocks WHERE not_after < p_now - interval '1 day') THEN
        RETURN 0;
    END IF;
    -- Takers of holds share this lock: none of them is using a block or its bucket meanwhile.
    PERFORM lock_tree(true);
    SELECT coalesce(array_agg(c.id), '{}') INTO v_ids FROM capability_blocks AS c
    WHERE c.not_after < p_now - interval '1 day'
      AND NOT EXISTS (SELECT FROM holds AS h WHERE h.state = 'open' AND h.entry -> 'block_ids' ? c.id);
    DELETE FROM buckets WHERE node_id = ANY (v_ids);
    DELETE FROM capability_blocks WHERE id = ANY (v_ids);
    RETURN cardinality(v_ids);
END
$$;

GRANT EXECUTE ON FUNCTION drop_spent_blocks(timestamptz) TO remit_authority;

RESET ROLE;
