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

-- Replaces the held amounts of a hold by the actual ones: first the node's own money, then its overdraft, and what
-- exceeds both is overage. Answers [{node, kind, overdraft}] for buckets whose usd overdraft was used.
CREATE FUNCTION post_to_buckets(p_hold holds, p_usd bigint, p_tokens bigint, p_requests bigint) RETURNS jsonb
LANGUAGE sql SET search_path = remit, pg_temp AS $$
    WITH split AS (
        SELECT l.*, a.actual, least(a.actual, l.amount) AS own,
               least(greatest(a.actual - l.amount, 0), l.overdraft) AS over
        FROM unnest(p_hold.lines) AS l,
             LATERAL (SELECT CASE WHEN l.period_kind = 'inflight' THEN 0
                                  WHEN l.dimension = 'usd' THEN p_usd
                                  WHEN l.dimension = 'tokens' THEN p_tokens
                                  ELSE p_requests END AS actual) AS a
    ), posted AS (
        UPDATE buckets AS b
        SET held = b.held - s.amount,
            posted = b.posted + s.own,
            overdraft_held = b.overdraft_held - s.overdraft,
            overdraft_posted = b.overdraft_posted + s.over,
            overage = b.overage + s.actual - s.own - s.over,
            limit_amount = greatest(b.target, b.posted + s.own + b.held - s.amount),
            overdraft_limit = greatest(b.overdraft_target,
                                       b.overdraft_posted + s.over + b.overdraft_held - s.overdraft)
        FROM split AS s
        WHERE (b.node_id, b.dimension, b.period_kind, b.period_start)
              = (s.node_id, s.dimension, s.period_kind, s.period_start)
        RETURNING b.node_id, b.dimension, b.period_kind, s.over
    )
    SELECT jsonb_agg(jsonb_build_object('node', node_id, 'kind', period_kind, 'overdraft', over))
    FROM posted WHERE dimension = 'usd' AND over > 0
$$;

-- Pages once per bucket and threshold passed by what is posted.
CREATE FUNCTION page_thresholds(p_hold holds, p_now timestamptz) RETURNS void
LANGUAGE sql SET search_path = remit, pg_temp AS $$
    WITH passed AS (
        SELECT b.*, max(t.percent) AS percent
        FROM unnest(p_hold.lines) AS l
        JOIN buckets AS b ON (b.node_id, b.dimension, b.period_kind, b.period_start)
                             = (l.node_id, l.dimension, l.period_kind, l.period_start),
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

-- Tells a person, once per hold, of money that moved in an unusual way.
CREATE FUNCTION page_about_hold(p_kind text, p_hold holds, p_node text, p_amount bigint, p_now timestamptz)
RETURNS void
LANGUAGE sql SET search_path = remit, pg_temp AS $$
    INSERT INTO notifications (kind, audience, node_id, dimension, period_kind, body, created_at, next_attempt_at)
    SELECT p_kind, CASE g.class WHEN 'production' THEN 'on_call' ELSE 'owner' END, g.id, 'usd', p_hold.id,
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
                         class, owner,
                         tags, tag_conflicts, vendor, deployment, model_requested, model_served, tier, usage,
                         price_lines, price_source, usage_source, tokens, requests, request_id, operation_id, hold_id,
                         vendor_request_id, corrects, policy_version, decision_id, held_at, recorded_at, note,
                         entry_hash)
    VALUES (v_entry.id, v_entry.kind, v_entry.amount_nanousd, v_entry.grant_id, v_entry.grant_path, v_entry.node_ids,
            v_entry.block_ids, v_entry.debtor_id, v_entry.debt_period, v_entry.class, v_entry.owner, v_entry.tags, v_entry.tag_conflicts,
            v_entry.vendor, v_entry.deployment, v_entry.model_requested, v_entry.model_served, v_entry.tier,
            v_entry.usage, v_entry.price_lines, v_entry.price_source, v_entry.usage_source, v_entry.tokens,
            v_entry.requests, v_entry.request_id, v_entry.operation_id, v_entry.hold_id, v_entry.vendor_request_id,
            v_entry.corrects, v_entry.policy_version, v_entry.decision_id, v_entry.held_at, v_entry.recorded_at,
            v_entry.note, '\x');
    RETURN v_entry.id;
END
$$;

-- Posts a locked, open hold at the given amounts and books it: a usage or suspense entry, an overage entry for what
-- exceeds the ceiling, and one overdraft entry per bucket that lent money.
CREATE FUNCTION post_hold(p_hold holds, p_usd bigint, p_tokens bigint, p_more jsonb, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = remit, pg_temp AS $$
DECLARE
    v_debts jsonb := post_to_buckets(p_hold, p_usd, p_tokens, 1);
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
    FOR v_debt IN SELECT jsonb_array_elements(v_debts) LOOP
        v_number := v_number + 1;
        PERFORM append_entry(p_hold, p_more || v_memo || jsonb_build_object(
            'kind', 'overdraft', 'debtor_id', v_debt ->> 'node', 'debt_period', v_debt ->> 'kind',
            'amount_nanousd', (v_debt ->> 'overdraft')::bigint), '_overdraft' || v_number, p_now);
        PERFORM page_about_hold('overdraft', p_hold, v_debt ->> 'node', (v_debt ->> 'overdraft')::bigint, p_now);
    END LOOP;
    PERFORM page_thresholds(p_hold, p_now);
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
                'kind', 'repayment', 'debtor_id', v_line.node_id, 'debt_period', v_line.period_kind, 'amount_nanousd', -v_over_back,
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
-- evidence and corrects it.
CREATE FUNCTION finish_holds(p_now timestamptz, p_endings jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_ending jsonb;
    v_hold holds;
    v_outcome text;
    v_answers jsonb := '[]';
BEGIN
    PERFORM lock_tree(false);
    PERFORM lock_holds(ARRAY (SELECT e ->> 'id' FROM jsonb_array_elements(p_endings) AS e));
    FOR v_ending IN SELECT jsonb_array_elements(p_endings) LOOP
        SELECT * INTO v_hold FROM holds WHERE id = v_ending ->> 'id';
        v_outcome := v_ending ->> 'outcome';
        IF NOT FOUND THEN
            v_outcome := 'unknown_hold';
        ELSIF v_hold.state <> 'open' THEN
            IF v_outcome = 'settled' THEN
                v_outcome := correct_suspense(v_hold, (v_ending ->> 'usd')::bigint, (v_ending ->> 'tokens')::bigint,
                                              v_ending -> 'entry', p_now);
            ELSIF v_outcome = 'voided' THEN
                v_outcome := correct_suspense(v_hold, 0, 0, '{"note": "nothing can have been billed"}', p_now);
            ELSE
                v_outcome := 'already_settled';
            END IF;
        ELSIF v_outcome = 'settled' THEN
            PERFORM post_hold(v_hold, (v_ending ->> 'usd')::bigint, (v_ending ->> 'tokens')::bigint,
                              v_ending -> 'entry' || '{"kind": "usage"}', p_now);
            UPDATE holds SET state = 'settled', ended_at = p_now WHERE id = v_hold.id;
        ELSIF v_outcome = 'voided' THEN
            PERFORM post_to_buckets(v_hold, 0, 0, 0);
            UPDATE holds SET state = 'voided', ended_at = p_now WHERE id = v_hold.id;
        ELSIF v_outcome = 'suspense' THEN
            PERFORM suspend_hold(v_hold, v_ending -> 'entry', p_now);
        ELSE
            RAISE EXCEPTION 'unknown outcome %', v_outcome;
        END IF;
        v_answers := v_answers || jsonb_build_object('outcome', v_outcome, 'tightest', tightest(v_hold.lines));
    END LOOP;
    RETURN v_answers;
END
$$;

-- Books a hold at its ceiling: nothing is freed, and the entry says that it is a bound, not a fact.
CREATE FUNCTION suspend_hold(p_hold holds, p_more jsonb, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = remit, pg_temp AS $$
BEGIN
    PERFORM post_hold(p_hold, p_hold.ceiling_nanousd, p_hold.ceiling_tokens,
                      coalesce(p_more, '{}') || '{"kind": "suspense", "usage_source": "estimated"}', p_now);
    UPDATE holds SET state = 'expired', ended_at = p_now WHERE id = p_hold.id;
    PERFORM page_about_hold('suspense', p_hold, p_hold.grant_id, p_hold.ceiling_nanousd, p_now);
END
$$;

-- The sweeper: ends open holds whose time is up. Nobody knows what they cost, so nothing is freed: each is booked in
-- suspense at its ceiling. Answers how many it ended; call again while that equals p_at_most.
CREATE FUNCTION expire_holds(p_now timestamptz, p_at_most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_ids text[];
    v_hold holds;
BEGIN
    PERFORM lock_tree(false);
    v_ids := ARRAY (SELECT id FROM holds WHERE state = 'open' AND expires_at <= p_now
                    ORDER BY expires_at LIMIT p_at_most);
    PERFORM lock_holds(v_ids);
    FOR v_hold IN SELECT * FROM holds WHERE id = ANY (v_ids) AND state = 'open' ORDER BY id LOOP
        PERFORM suspend_hold(v_hold, '{"note": "the hold''s time was up"}', p_now);
    END LOOP;
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
