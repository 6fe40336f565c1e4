-- An entry says which periods it was charged to.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- [{"node", "kind", "start"}, ...]: one for each calendar of a limit that the call counted against, in the order of the path.
-- All of them, because no single one is the right one: a month of the root and a day of the leaf may begin in different time
-- zones. Where a period ends follows from its kind and start. Empty where no node of the path has a limit; NULL, which is
-- unknown, in older entries.
ALTER TABLE entries ADD COLUMN periods jsonb;
ALTER TABLE entries ADD CONSTRAINT periods_are_known CHECK (periods IS NOT NULL) NOT VALID;

-- As in 0002. Entries from before the column was there have no value in it and keep the hash they were written with.
CREATE OR REPLACE FUNCTION hash_of(p_entry entries) RETURNS bytea
LANGUAGE sql STABLE SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
    SELECT sha256(convert_to((to_jsonb(p_entry) - 'seq' - 'entry_hash'
                              - CASE WHEN p_entry.periods IS NULL THEN 'periods' ELSE '' END)::text, 'UTF8'))
$$;

-- The periods of a hold's lines, each once, rates left out. A loop and not a query, and nothing looked up: this runs for
-- every request, and a query took three times as long. Its callers set the time zone to UTC.
CREATE FUNCTION periods_of(p_lines hold_line[]) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
    l hold_line;
    v_period jsonb;
    v_periods jsonb := '[]';
BEGIN
    FOREACH l IN ARRAY p_lines LOOP
        CONTINUE WHEN l.period_kind IN ('minute', 'inflight');
        v_period := jsonb_build_array(jsonb_build_object('node', l.node_id, 'kind', l.period_kind,
                                                         'start', l.period_start));
        IF NOT v_periods @> v_period THEN
            v_periods := v_periods || v_period;
        END IF;
    END LOOP;
    RETURN v_periods;
END
$$;

-- As in 0004, and with the periods.
CREATE OR REPLACE FUNCTION append_entry(p_hold holds, p_more jsonb, p_suffix text, p_now timestamptz) RETURNS text
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
    v_entry.periods := periods_of(p_hold.lines);
    v_entry.held_at := p_hold.taken_at;
    v_entry.recorded_at := p_now;
    INSERT INTO entries (id, kind, amount_nanousd, grant_id, grant_path, node_ids, block_ids, debtor_id, debt_period,
                         class, owner, tags, tag_conflicts, vendor, deployment, model_requested, model_served, tier, usage,
                         price_lines, price_source, usage_source, tokens, requests, request_id, operation_id, hold_id,
                         vendor_request_id, corrects, policy_version, decision_id, held_at, recorded_at, note,
                         periods, entry_hash)
    VALUES (v_entry.id, v_entry.kind, v_entry.amount_nanousd, v_entry.grant_id, v_entry.grant_path, v_entry.node_ids,
            v_entry.block_ids, v_entry.debtor_id, v_entry.debt_period, v_entry.class, v_entry.owner, v_entry.tags,
            v_entry.tag_conflicts,
            v_entry.vendor, v_entry.deployment, v_entry.model_requested, v_entry.model_served, v_entry.tier,
            v_entry.usage, v_entry.price_lines, v_entry.price_source, v_entry.usage_source, v_entry.tokens,
            v_entry.requests, v_entry.request_id, v_entry.operation_id, v_entry.hold_id, v_entry.vendor_request_id,
            v_entry.corrects, v_entry.policy_version, v_entry.decision_id, v_entry.held_at, v_entry.recorded_at,
            v_entry.note, v_entry.periods, '\x');
    RETURN v_entry.id;
END
$$;

RESET ROLE;
