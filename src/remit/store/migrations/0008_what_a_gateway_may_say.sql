-- What a gateway says about a call is checked before it becomes an entry: a gateway that is broken, or broken into, can book
-- too much, but cannot make books smaller, nor say afterwards whose call it was.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- A token is priced once; only corrections and repayments take something back, and they name what.
ALTER TABLE entries
    ADD CONSTRAINT no_negative_usage CHECK (kind NOT IN ('usage', 'suspense', 'overage', 'overdraft')
                                            OR (amount_nanousd >= 0 AND tokens >= 0 AND requests >= 0)),
    ADD CONSTRAINT repayment_lowers_a_debt CHECK (kind <> 'repayment' OR amount_nanousd <= 0);

-- What a hold says beforehand is what the ledger takes from it, and nothing that is decided when it ends: an entry that could
-- not be written would keep the sweeper from ending it.
ALTER TABLE holds ADD CONSTRAINT entry_says_no_more CHECK (
    entry - '{grant_path,node_ids,block_ids,class,owner,tags,tag_conflicts,vendor,deployment,model_requested,tier,price_lines,'
            'price_source,policy_version,decision_id}'::text[] = '{}');

-- Refuses an amount that is missing or below zero, and any column that is fixed when the hold is taken. Raising rolls back
-- the whole batch; the gateway then ends its holds one by one, and this one in suspense at its ceiling.
CREATE FUNCTION check_ending(p_hold_id text, p_usd bigint, p_tokens bigint, p_said jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = remit, pg_temp AS $$
BEGIN
    IF p_usd IS NULL OR p_usd < 0 OR p_tokens IS NULL OR p_tokens < 0 THEN
        RAISE EXCEPTION 'hold % cannot end at % nano-USD and % tokens', p_hold_id,
            coalesce(p_usd::text, 'unknown'), coalesce(p_tokens::text, 'unknown')
            USING ERRCODE = 'check_violation';
    END IF;
    IF p_said - '{model_served,tier,usage,price_lines,price_source,usage_source,vendor_request_id,note}'::text[] <> '{}'
    THEN
        RAISE EXCEPTION 'the end of hold % states what is not for it to state: %', p_hold_id, p_said
            USING ERRCODE = 'check_violation';
    END IF;
END
$$;

-- As in 0004, and the ending is checked. A call in suspense shows the prices it was held at, which is what was booked; no
-- other entry does.
CREATE OR REPLACE FUNCTION book_hold(p_hold holds, p_usd bigint, p_tokens bigint, p_debts jsonb, p_more jsonb,
                                     p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = remit, pg_temp AS $$
DECLARE
    v_debt jsonb;
    v_number integer := 0;
    v_memo jsonb := '{"usage": null, "price_lines": null, "tokens": 0, "requests": 0}';
    v_prices jsonb := CASE p_more ->> 'kind' WHEN 'suspense' THEN '{}' ELSE '{"price_lines": null}' END;
BEGIN
    PERFORM check_ending(p_hold.id, p_usd, p_tokens, p_more - 'kind');
    PERFORM append_entry(p_hold, v_prices || p_more || jsonb_build_object(
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

-- As in 0004, and the evidence is checked.
CREATE OR REPLACE FUNCTION correct_suspense(p_hold holds, p_usd bigint, p_tokens bigint, p_more jsonb, p_now timestamptz)
RETURNS text
LANGUAGE plpgsql SET search_path = remit, pg_temp AS $$
DECLARE
    v_suspense entries;
    v_line hold_line;
    v_back bigint;
    v_lent bigint;
    v_over_back bigint;
    v_more jsonb := '{"usage_source": "recovered", "price_lines": null}' || coalesce(p_more, '{}');
BEGIN
    SELECT * INTO v_suspense FROM entries WHERE hold_id = p_hold.id AND kind = 'suspense';
    IF NOT FOUND OR EXISTS (SELECT FROM entries WHERE corrects = v_suspense.id) THEN
        RETURN 'already_settled';
    END IF;
    PERFORM check_ending(p_hold.id, p_usd, p_tokens, coalesce(p_more, '{}'));
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

-- As in 0003, and the amounts are checked: a line below zero would free what others hold.
CREATE OR REPLACE FUNCTION open_wanted_buckets(p_lines wanted_line[]) RETURNS void
LANGUAGE plpgsql SET search_path = remit, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM unnest(p_lines) AS l WHERE l.amount IS NULL OR l.amount < 0) THEN
        RAISE EXCEPTION 'a hold has no amount, or one below zero' USING ERRCODE = 'check_violation';
    END IF;
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

RESET ROLE;
