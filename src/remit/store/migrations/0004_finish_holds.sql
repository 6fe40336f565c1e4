-- Ending holds: settle, void, expire; and correcting by evidence what had to be booked at its ceiling.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- Locks holds, then their buckets, each in the order of their key (see open_wanted_buckets).
CREATE FUNCTION lock_holds(p_hold_ids text[]) RETURNS void
LANGUAGE plpgsql SET search_path = remit, pg_temp AS $$
BEGIN
    PERFORM FROM holds WHERE id = ANY (p_hold_ids) ORDER BY id FOR UPDATE;
    PERFORM FROM buckets AS b
    WHERE (b.node_id, b.dimension, b.period_kind, b.period_start) IN (
        SELECT l.node_id, l.dimension, l.period_kind, l.period_start
        FROM holds AS h, unnest(h.lines) AS l WHERE h.id = ANY (p_hold_ids))
    ORDER BY b.node_id, b.dimension, b.period_kind, b.period_start
    FOR UPDATE;
END
$$;

-- Pages once per bucket and threshold passed by what is posted.
CREATE FUNCTION page_thresholds(p_nodes text[], p_dimensions text[], p_kinds text[], p_starts timestamptz[],
                                p_now timestamptz) RETURNS void
LANGUAGE sql SET search_path = remit, pg_temp AS $$
    WITH passed AS (
        SELECT b.*, max(t.percent) AS percent
        FROM unnest(p_nodes, p_dimensions, p_kinds, p_starts) AS n (node, dimension, kind, starts)
        JOIN buckets AS b ON (b.node_id, b.dimension, b.period_kind, b.period_start)
                             = (n.node, n.dimension, n.kind, n.starts),
             unnest(b.page_percents) AS t (percent)
        WHERE b.target > 0 AND t.percent > b.paged_percent
          AND (b.posted + b.overage + b.overdraft_posted)::numeric * 100 >= b.target::numeric * t.percent
        GROUP BY b.node_id, b.dimension, b.period_kind, b.period_start
    ), marked AS (
        UPDATE buckets AS b SET paged_percent = p.percent FROM passed AS p
        WHERE (b.node_id, b.dimension, b.period_kind, b.period_start)
              = (p.node_id, p.dimension, p.period_kind, p.period_start)
    )
    INSERT INTO notifications (kind, audience, node_id, dimension, threshold, period_kind, period_start, body,
                               created_at, next_attempt_at)
    SELECT 'threshold', CASE g.class WHEN 'production' THEN 'on_call' ELSE 'owner' END,
           g.id, p.dimension, p.percent, p.period_kind, p.period_start,
           jsonb_build_object('path', g.path, 'owner', g.owner, 'class', g.class, 'limit', p.target,
                              'posted', p.posted + p.overage + p.overdraft_posted, 'ends', p.period_end),
           p_now, p_now
    FROM passed AS p JOIN grants AS g ON g.id = p.node_id
    ON CONFLICT DO NOTHING
$$;

-- Tells a person, once per grant and day, of money that moved in an unusual way; every single case is in the ledger.
CREATE FUNCTION page_about_hold(p_kind text, p_hold holds, p_node text, p_amount bigint, p_now timestamptz)
RETURNS void
LANGUAGE sql SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
    INSERT INTO notifications (kind, audience, node_id, dimension, period_kind, period_start, body, created_at,
                               next_attempt_at)
    SELECT p_kind, CASE g.class WHEN 'production' THEN 'on_call' ELSE 'owner' END, g.id, 'usd', 'day',
           date_trunc('day', p_now),
           jsonb_build_object('path', g.path, 'owner', g.owner, 'class', g.class, 'amount_nanousd', p_amount,
                              'hold_id', p_hold.id, 'request_id', p_hold.request_id), p_now, p_now
    FROM grants AS g WHERE g.id = p_node
    ON CONFLICT DO NOTHING
$$;

-- Appends one entry: what was known when the hold was taken, overlaid with what is known now.
CREATE FUNCTION append_entry(p_hold holds, p_more jsonb, p_suffix text, p_now timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_entry entries;
BEGIN
    v_entry := jsonb_populate_record(NULL::entries, p_hold.entry || p_more);
    v_entry.id := replace(p_hold.id, 'hold_', 'entry_') || p_suffix;
    v_entry.hold_id := p_hold.id;
    v_entry.operation_id := p_hold.operation_id;
    v_entry.request_id := p_hold.request_id;
    v_entry.grant_id := p_hold.grant_id;
    v_entry.held_at := p_hold.taken_at;
    v_entry.recorded_at := p_now;
    INSERT INTO entries (id, kind, amount_nanousd, grant_id, grant_path, node_ids, block_ids, debtor_id, debt_period,
                         class, owner, tags, tag_conflicts, vendor, deployment, model_requested, model_served, tier, usage,
                         price_lines, price_source, usage_source, tokens, requests, request_id, operation_id, hold_id,
                         vendor_request_id, corrects, policy_version, decision_id, held_at, recorded_at, note,
                         entry_hash)
    VALUES (v_entry.id, v_entry.kind, v_entry.amount_nanousd, v_entry.grant_id, v_entry.grant_path, v_entry.node_ids,
            v_entry.block_ids, v_entry.debtor_id, v_entry.debt_period, v_entry.class, v_entry.owner, v_entry.tags,
            v_entry.tag_conflicts,
            v_entry.vendor, v_entry.deployment, v_entry.model_requested, v_entry.model_served, v_entry.tier,
            v_entry.usage, v_entry.price_lines, v_entry.price_source, v_entry.usage_source, v_entry.tokens,
            v_entry.requests, v_entry.request_id, v_entry.operation_id, v_entry.hold_id, v_entry.vendor_request_id,
            v_entry.corrects, v_entry.policy_version, v_entry.decision_id, v_entry.held_at, v_entry.recorded_at,
            v_entry.note, '\x');
    RETURN v_entry.id;
END
$$;

-- Books a hold that ends at the given amounts: a usage or suspense entry, an overage entry for what exceeds the ceiling,
-- and one overdraft entry per bucket that lent money, p_debts being [{node, kind, overdraft}, ...].
CREATE FUNCTION book_hold(p_hold holds, p_usd bigint, p_tokens bigint, p_debts jsonb, p_more jsonb, p_now timestamptz)
RETURNS void
LANGUAGE plpgsql SET search_path = remit, pg_temp AS $$
DECLARE
    v_debt jsonb;
    v_number integer := 0;
    v_memo jsonb := '{"usage": null, "price_lines": null, "tokens": 0, "requests": 0}';
BEGIN
    PERFORM append_entry(p_hold, p_more || jsonb_build_object(
        'amount_nanousd', least(p_usd, p_hold.ceiling_nanousd), 'tokens', p_tokens, 'requests', 1), '', p_now);
    IF p_usd > p_hold.ceiling_nanousd THEN
        PERFORM append_entry(p_hold, p_more || v_memo || jsonb_build_object(
            'kind', 'overage', 'amount_nanousd', p_usd - p_hold.ceiling_nanousd), '_overage', p_now);
        PERFORM page_about_hold('overage', p_hold, p_hold.grant_id, p_usd - p_hold.ceiling_nanousd, p_now);
    END IF;
    FOR v_debt IN SELECT jsonb_array_elements(p_debts) LOOP
        v_number := v_number + 1;
        PERFORM append_entry(p_hold, p_more || v_memo || jsonb_build_object(
            'kind', 'overdraft', 'debtor_id', v_debt ->> 'node', 'debt_period', v_debt ->> 'kind',
            'amount_nanousd', (v_debt ->> 'overdraft')::bigint), '_overdraft' || v_number, p_now);
        PERFORM page_about_hold('overdraft', p_hold, v_debt ->> 'node', (v_debt ->> 'overdraft')::bigint, p_now);
    END LOOP;
END
$$;

-- Corrects a hold that was booked in suspense, now that evidence says what it cost. Locks are held.
CREATE FUNCTION correct_suspense(p_hold holds, p_usd bigint, p_tokens bigint, p_more jsonb, p_now timestamptz)
RETURNS text
LANGUAGE plpgsql SET search_path = remit, pg_temp AS $$
DECLARE
    v_suspense entries;
    v_line hold_line;
    v_back bigint;
    v_lent bigint;
    v_over_back bigint;
    v_more jsonb := '{"usage_source": "recovered"}' || coalesce(p_more, '{}');
BEGIN
    SELECT * INTO v_suspense FROM entries WHERE hold_id = p_hold.id AND kind = 'suspense';
    IF NOT FOUND OR EXISTS (SELECT FROM entries WHERE corrects = v_suspense.id) THEN
        RETURN 'already_settled';
    END IF;
    FOREACH v_line IN ARRAY p_hold.lines LOOP
        CONTINUE WHEN v_line.period_kind IN ('inflight', 'minute') OR v_line.dimension = 'requests';
        -- What comes back (or, below zero, what has to be added as overage) relative to the ceiling that was posted.
        v_back := v_line.amount + v_line.overdraft
                  - CASE v_line.dimension WHEN 'usd' THEN p_usd ELSE p_tokens END;
        -- What the bucket lent, going by the ledger: one that had been removed meanwhile lent nothing.
        SELECT coalesce(sum(amount_nanousd), 0) INTO v_lent FROM entries
        WHERE hold_id = p_hold.id AND kind = 'overdraft' AND v_line.dimension = 'usd'
          AND (debtor_id, debt_period) = (v_line.node_id, v_line.period_kind);
        v_over_back := least(greatest(v_back, 0), v_lent);
        UPDATE buckets AS b
        SET posted = b.posted - (greatest(v_back, 0) - v_over_back),
            overdraft_posted = b.overdraft_posted - v_over_back,
            overage = b.overage + greatest(-v_back, 0),
            limit_amount = greatest(b.target, b.posted - (greatest(v_back, 0) - v_over_back) + b.held),
            overdraft_limit = greatest(b.overdraft_target, b.overdraft_posted - v_over_back + b.overdraft_held)
        WHERE (b.node_id, b.dimension, b.period_kind, b.period_start)
              = (v_line.node_id, v_line.dimension, v_line.period_kind, v_line.period_start);
        IF v_over_back > 0 THEN
            PERFORM append_entry(p_hold, v_more || jsonb_build_object(
                'kind', 'repayment', 'debtor_id', v_line.node_id, 'debt_period', v_line.period_kind,
                'amount_nanousd', -v_over_back,
                'usage', NULL, 'price_lines', NULL, 'tokens', 0, 'requests', 0),
                '_repayment_' || v_line.node_id || '_' || v_line.period_kind, p_now);
        END IF;
    END LOOP;
    PERFORM append_entry(p_hold, v_more || jsonb_build_object(
        'kind', 'correction', 'corrects', v_suspense.id, 'amount_nanousd', p_usd - v_suspense.amount_nanousd,
        'tokens', p_tokens - v_suspense.tokens, 'requests', 0), '_correction', p_now);
    IF p_usd > p_hold.ceiling_nanousd THEN
        PERFORM page_about_hold('overage', p_hold, p_hold.grant_id, p_usd - p_hold.ceiling_nanousd, p_now);
    END IF;
    UPDATE holds SET state = 'settled' WHERE id = p_hold.id;
    RETURN 'corrected';
END
$$;

-- Ends a batch of holds in one transaction; ending a hold again changes nothing.
--
-- p_endings  [{id, outcome: "settled" | "voided" | "suspense", usd, tokens, entry: {columns of entries}}, ...]
--   settled   the vendor's usage is known: usd and tokens are posted, the rest is released
--   voided    nothing can have been billed: everything is released
--   suspense  what it cost cannot be known: the ceiling is posted until evidence corrects it
-- Answers [{outcome, tightest}, ...], outcome being "settled" | "voided" | "suspense" | "corrected" | "already_settled" |
-- "unknown_hold". Settling or voiding a hold that is in suspense (its time was up, or the vendor's answer broke off) is
-- evidence and corrects it. `tightest` is as take_holds answers it, right after this hold ended; NULL where nothing changed.
--
-- Posting goes to the node's own money first, then to its overdraft; what exceeds both is overage. As in take_holds the
-- buckets' numbers are in arrays while the batch is worked on.
CREATE FUNCTION finish_holds(p_now timestamptz, p_endings jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC'
    -- See take_holds.
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_ids text[] := ARRAY (SELECT DISTINCT e ->> 'id' FROM jsonb_array_elements(p_endings) AS e);
    v_ending jsonb;
    v_hold holds;
    v_outcome text;
    v_answers jsonb := '[]';
    v_late jsonb := '[]';
    -- Lines of the holds that are open, in the order of their holds, with the places of their buckets.
    v_of_hold text[];
    v_places integer[];
    -- The buckets.
    v_nodes text[];
    v_dimensions text[];
    v_kinds text[];
    v_starts timestamptz[];
    v_targets bigint[];
    v_overdrafts bigint[];
    v_posted bigint[];
    v_held bigint[];
    v_overages bigint[];
    v_overdraft_posted bigint[];
    v_overdraft_held bigint[];
    v_line hold_line;
    v_next integer;
    p integer;
    v_usd bigint;
    v_tokens bigint;
    v_actual bigint;
    v_own bigint;
    v_over bigint;
    v_left numeric;
    v_least numeric;
    v_tightest jsonb;
    v_debts jsonb;
BEGIN
    PERFORM lock_tree(false);
    PERFORM lock_holds(v_ids);
    WITH lines AS MATERIALIZED (
        SELECT h.id, l.* FROM holds AS h, unnest(h.lines) WITH ORDINALITY AS l
        WHERE h.id = ANY (v_ids) AND h.state = 'open'
    ), b AS MATERIALIZED (
        SELECT *, row_number() OVER (ORDER BY node_id, dimension, period_kind, period_start)::integer AS place
        FROM buckets
        WHERE (node_id, dimension, period_kind, period_start) IN (
            SELECT l.node_id, l.dimension, l.period_kind, l.period_start FROM lines AS l)
    ), placed AS (
        SELECT array_agg(l.id ORDER BY l.id, l.ordinality) AS of_hold,
               array_agg(b.place ORDER BY l.id, l.ordinality) AS places
        FROM lines AS l
        LEFT JOIN b ON (b.node_id, b.dimension, b.period_kind, b.period_start)
                       = (l.node_id, l.dimension, l.period_kind, l.period_start)
    )
    SELECT (SELECT of_hold FROM placed), (SELECT places FROM placed),
           array_agg(b.node_id ORDER BY b.place), array_agg(b.dimension ORDER BY b.place),
           array_agg(b.period_kind ORDER BY b.place), array_agg(b.period_start ORDER BY b.place),
           array_agg(b.target ORDER BY b.place), array_agg(b.overdraft_target ORDER BY b.place),
           array_agg(b.posted ORDER BY b.place), array_agg(b.held ORDER BY b.place),
           array_agg(b.overage ORDER BY b.place), array_agg(b.overdraft_posted ORDER BY b.place),
           array_agg(b.overdraft_held ORDER BY b.place)
    INTO v_of_hold, v_places, v_nodes, v_dimensions, v_kinds, v_starts, v_targets, v_overdrafts, v_posted, v_held,
         v_overages, v_overdraft_posted, v_overdraft_held
    FROM b;

    FOR v_ending IN SELECT jsonb_array_elements(p_endings) LOOP
        SELECT * INTO v_hold FROM holds WHERE id = v_ending ->> 'id';
        v_outcome := v_ending ->> 'outcome';
        v_tightest := NULL;
        IF NOT FOUND THEN
            v_outcome := 'unknown_hold';
        ELSIF v_outcome IS NULL OR v_outcome NOT IN ('settled', 'voided', 'suspense') THEN
            RAISE EXCEPTION 'unknown outcome %', v_outcome;
        ELSIF v_hold.state <> 'open' AND v_outcome <> 'suspense' THEN
            -- Evidence for a hold that has ended. It works on the buckets themselves, so it waits until they are written.
            v_late := v_late || jsonb_build_object('place', jsonb_array_length(v_answers), 'ending', v_ending);
        ELSIF v_hold.state <> 'open' THEN
            v_outcome := 'already_settled';
        ELSE
            v_usd := CASE v_outcome WHEN 'settled' THEN (v_ending ->> 'usd')::bigint
                                    WHEN 'suspense' THEN v_hold.ceiling_nanousd ELSE 0 END;
            v_tokens := CASE v_outcome WHEN 'settled' THEN (v_ending ->> 'tokens')::bigint
                                       WHEN 'suspense' THEN v_hold.ceiling_tokens ELSE 0 END;
            v_debts := '[]';
            v_least := NULL;
            v_next := array_position(v_of_hold, v_hold.id);
            FOREACH v_line IN ARRAY v_hold.lines LOOP
                p := v_places[v_next];
                v_next := v_next + 1;
                CONTINUE WHEN p IS NULL;  -- a limit that was taken away while this hold was open
                v_actual := CASE WHEN v_outcome = 'voided' OR v_line.period_kind = 'inflight' THEN 0
                                 WHEN v_line.dimension = 'usd' THEN v_usd
                                 WHEN v_line.dimension = 'tokens' THEN v_tokens
                                 ELSE 1 END;
                v_own := least(v_actual, v_line.amount);
                v_over := least(v_actual - v_own, v_line.overdraft);
                v_posted[p] := v_posted[p] + v_own;
                v_held[p] := v_held[p] - v_line.amount;
                v_overages[p] := v_overages[p] + v_actual - v_own - v_over;
                v_overdraft_posted[p] := v_overdraft_posted[p] + v_over;
                v_overdraft_held[p] := v_overdraft_held[p] - v_line.overdraft;
                CONTINUE WHEN v_line.dimension <> 'usd';
                IF v_over > 0 THEN
                    v_debts := v_debts || jsonb_build_object('node', v_line.node_id, 'kind', v_line.period_kind,
                                                             'overdraft', v_over);
                END IF;
                v_left := v_targets[p]::numeric + v_overdrafts[p] - v_posted[p] - v_overages[p] - v_held[p]
                          - v_overdraft_posted[p] - v_overdraft_held[p];
                IF v_least IS NULL OR v_left < v_least THEN
                    v_least := v_left;
                    v_tightest := jsonb_build_object('node', v_line.node_id, 'limit', v_targets[p],
                                                     'remaining', greatest(v_left, 0));
                END IF;
            END LOOP;
            IF v_outcome = 'settled' THEN
                PERFORM book_hold(v_hold, v_usd, v_tokens, v_debts, v_ending -> 'entry' || '{"kind": "usage"}', p_now);
            ELSIF v_outcome = 'suspense' THEN
                PERFORM book_hold(v_hold, v_usd, v_tokens, v_debts, coalesce(v_ending -> 'entry', '{}')
                                  || '{"kind": "suspense", "usage_source": "estimated"}', p_now);
                PERFORM page_about_hold('suspense', v_hold, v_hold.grant_id, v_usd, p_now);
            END IF;
            UPDATE holds
            SET state = CASE v_outcome WHEN 'suspense' THEN 'expired' ELSE v_outcome END, ended_at = p_now
            WHERE id = v_hold.id;
        END IF;
        v_answers := v_answers || jsonb_build_object('outcome', v_outcome, 'tightest', v_tightest);
    END LOOP;

    UPDATE buckets AS b
    SET posted = n.posted, held = n.held, overage = n.overage, overdraft_posted = n.overdraft_posted,
        overdraft_held = n.overdraft_held, limit_amount = greatest(b.target, n.posted + n.held),
        overdraft_limit = greatest(b.overdraft_target, n.overdraft_posted + n.overdraft_held)
    FROM unnest(v_nodes, v_dimensions, v_kinds, v_starts, v_posted, v_held, v_overages, v_overdraft_posted,
                v_overdraft_held)
         AS n (node, dimension, kind, starts, posted, held, overage, overdraft_posted, overdraft_held)
    WHERE (b.node_id, b.dimension, b.period_kind, b.period_start) = (n.node, n.dimension, n.kind, n.starts);
    PERFORM page_thresholds(v_nodes, v_dimensions, v_kinds, v_starts, p_now);

    FOR v_ending IN SELECT jsonb_array_elements(v_late) LOOP
        SELECT * INTO v_hold FROM holds WHERE id = v_ending #>> '{ending,id}';
        IF v_ending #>> '{ending,outcome}' = 'voided' THEN
            v_outcome := correct_suspense(v_hold, 0, 0, '{"note": "nothing can have been billed"}', p_now);
        ELSE
            v_outcome := correct_suspense(v_hold, (v_ending #>> '{ending,usd}')::bigint,
                                          (v_ending #>> '{ending,tokens}')::bigint, v_ending #> '{ending,entry}',
                                          p_now);
        END IF;
        v_answers := jsonb_set(v_answers, ARRAY [v_ending ->> 'place', 'outcome'], to_jsonb(v_outcome));
    END LOOP;
    RETURN v_answers;
END
$$;

-- The sweeper: ends open holds whose time is up. Nobody knows what they cost, so nothing is freed: each is booked in
-- suspense at its ceiling. Answers how many it ended; call again while that equals p_at_most.
CREATE FUNCTION expire_holds(p_now timestamptz, p_at_most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_ids text[];
BEGIN
    v_ids := ARRAY (SELECT id FROM holds WHERE state = 'open' AND expires_at <= p_now
                    ORDER BY expires_at LIMIT p_at_most);
    IF cardinality(v_ids) > 0 THEN
        PERFORM finish_holds(p_now, (
            SELECT jsonb_agg(jsonb_build_object('id', id, 'outcome', 'suspense',
                                                'entry', jsonb_build_object('note', 'the hold''s time was up')))
            FROM unnest(v_ids) AS id));
    END IF;
    RETURN cardinality(v_ids);
END
$$;

-- Voids a hold whose taking was given up without an answer. Where it was not taken yet, its id is used up, so that a
-- call that is still on its way to the database cannot take it afterwards. One hold per transaction: this may wait for
-- that call, and must hold nothing meanwhile.
CREATE FUNCTION abandon_hold(p_now timestamptz, p_hold jsonb) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    INSERT INTO holds (id, operation_id, request_id, grant_id, state, taken_at, expires_at, ended_at, ceiling_nanousd,
                       ceiling_tokens, lines, entry)
    VALUES (p_hold ->> 'id', p_hold ->> 'operation_id', p_hold ->> 'request_id', p_hold ->> 'grant_id', 'voided',
            (p_hold ->> 'taken_at')::timestamptz, (p_hold ->> 'expires_at')::timestamptz, p_now,
            (p_hold ->> 'ceiling_nanousd')::bigint, (p_hold ->> 'ceiling_tokens')::bigint, '{}', p_hold -> 'entry')
    ON CONFLICT (id) DO NOTHING;
    IF FOUND THEN
        RETURN 'voided';
    END IF;
    RETURN finish_holds(p_now, jsonb_build_array(jsonb_build_object('id', p_hold ->> 'id', 'outcome', 'voided')))
           -> 0 ->> 'outcome';
END
$$;

GRANT EXECUTE ON FUNCTION finish_holds(timestamptz, jsonb), abandon_hold(timestamptz, jsonb)
    TO remit_gateway, remit_authority;
GRANT EXECUTE ON FUNCTION expire_holds(timestamptz, integer) TO remit_authority;

RESET ROLE;
