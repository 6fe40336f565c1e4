-- Outcomes: what systems of record say came of the spending, and what of the ledger each is about. Nothing here is ever changed.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

SELECT lock_tree(true);

-- What a source says about one of its subjects, in one kind. `id` follows from those three. `grant_id` is where it was asserted:
-- it is about nothing that was not charged to that grant.
CREATE TABLE outcomes (
    id text PRIMARY KEY,
    source text NOT NULL CHECK (source <> ''),
    kind text NOT NULL CHECK (kind <> ''),
    subject text NOT NULL CHECK (subject <> ''),
    grant_id text NOT NULL REFERENCES grants (id),
    UNIQUE (source, kind, subject)
);
CREATE INDEX outcomes_grant ON outcomes (grant_id);

-- `event_id` is the source's name for the event: said again it is the same event, or refused. What an outcome comes to follows from
-- its events in the order they happened in (`remit.outcomes.rules.fold`).
CREATE TABLE outcome_events (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    outcome_id text NOT NULL REFERENCES outcomes (id),
    source text NOT NULL,
    event_id text NOT NULL CHECK (event_id <> ''),
    status text NOT NULL CHECK (status IN ('success', 'failure', 'pending', 'reversed')),
    value_nanousd bigint,
    evidence_url text,
    weight_ppm integer NOT NULL CHECK (weight_ppm BETWEEN 1 AND 1000000),
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    asserted_by text NOT NULL CHECK (asserted_by <> ''),
    asserted_with text REFERENCES people_tokens (id),
    CONSTRAINT outcome_events_once UNIQUE (source, event_id)
);
CREATE INDEX outcome_events_outcome ON outcome_events (outcome_id, occurred_at);
CREATE INDEX outcome_events_occurred ON outcome_events (occurred_at);

-- What of the ledger an event says its outcome is about. Reports join the entries of their span to these by hashing, so entries need
-- no index for it: one would cost every settled call, and a report reads all of its span anyway.
CREATE TABLE outcome_joins (
    event_seq bigint NOT NULL REFERENCES outcome_events (seq),
    outcome_id text NOT NULL REFERENCES outcomes (id),
    how text NOT NULL CHECK (how IN ('operation', 'trace', 'tag', 'window')),
    name text NOT NULL DEFAULT '',
    value text NOT NULL DEFAULT '',
    since timestamptz,
    until timestamptz,
    CONSTRAINT joins_say_what_they_join CHECK (CASE how WHEN 'window' THEN since < until AND name = '' AND value = ''
        ELSE num_nonnulls(since, until) = 0 AND value <> '' AND (name <> '') = (how = 'tag') END)
);
CREATE INDEX outcome_joins_event ON outcome_joins (event_seq);

CREATE TRIGGER outcomes_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON outcomes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();
CREATE TRIGGER outcome_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON outcome_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();
CREATE TRIGGER outcome_joins_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON outcome_joins
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();

GRANT SELECT, INSERT ON outcomes, outcome_events, outcome_joins TO remit_authority;
GRANT SELECT ON outcomes, outcome_events, outcome_joins TO remit_reader;

-- Who asserts: a role, and tokens that can do nothing else. Empty lists are any kind, any source.
ALTER TABLE role_bindings DROP CONSTRAINT role_bindings_role_check;
ALTER TABLE role_bindings ADD CONSTRAINT role_bindings_role_check CHECK (
    role IN ('org_owner', 'finance', 'security', 'auditor', 'approver', 'gateway_operator', 'system_of_record'));
ALTER TABLE people_tokens
    ADD COLUMN scope text CHECK (scope IN ('outcomes:assert')),
    ADD COLUMN kinds text[] NOT NULL DEFAULT '{}',
    ADD COLUMN sources text[] NOT NULL DEFAULT '{}',
    ADD CONSTRAINT only_a_scope_is_narrowed CHECK (scope IS NOT NULL OR (kinds = '{}' AND sources = '{}'));

-- Begin: the trace a call belongs to -----------------------------------------------------------------------------

-- The trace id of the caller's `traceparent`, NULL where there was none that could be read. It is frozen in the hold's entry.
ALTER TABLE entries ADD COLUMN IF NOT EXISTS trace_id text;
ALTER TABLE holds DROP CONSTRAINT entry_says_no_more;
ALTER TABLE holds ADD CONSTRAINT entry_says_no_more CHECK (
    entry - '{grant_path,node_ids,block_ids,class,owner,tags,tag_conflicts,vendor,deployment,model_requested,tier,price_lines,'
            'price_source,policy_version,decision_id,trace_id}'::text[] = '{}');

-- As in 0020. Entries without a trace have no value in it and keep the hash they were, and are, written with.
CREATE OR REPLACE FUNCTION hash_of(p_entry entries) RETURNS bytea
LANGUAGE sql STABLE SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
    SELECT sha256(convert_to((to_jsonb(p_entry) - 'seq' - 'entry_hash'
                              - CASE WHEN p_entry.periods IS NULL THEN 'periods' ELSE '' END
                              - CASE WHEN p_entry.trace_id IS NULL THEN 'trace_id' ELSE '' END
                              - CASE WHEN p_entry.settlement IS NULL THEN 'settlement' ELSE '' END)::text, 'UTF8'))
$$;

-- As in 0009, and with the trace.
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
                         periods, trace_id, entry_hash)
    VALUES (v_entry.id, v_entry.kind, v_entry.amount_nanousd, v_entry.grant_id, v_entry.grant_path, v_entry.node_ids,
            v_entry.block_ids, v_entry.debtor_id, v_entry.debt_period, v_entry.class, v_entry.owner, v_entry.tags,
            v_entry.tag_conflicts,
            v_entry.vendor, v_entry.deployment, v_entry.model_requested, v_entry.model_served, v_entry.tier,
            v_entry.usage, v_entry.price_lines, v_entry.price_source, v_entry.usage_source, v_entry.tokens,
            v_entry.requests, v_entry.request_id, v_entry.operation_id, v_entry.hold_id, v_entry.vendor_request_id,
            v_entry.corrects, v_entry.policy_version, v_entry.decision_id, v_entry.held_at, v_entry.recorded_at,
            v_entry.note, v_entry.periods, v_entry.trace_id, '\x');
    RETURN v_entry.id;
END
$$;

-- End: the trace a call belongs to -------------------------------------------------------------------------------

RESET ROLE;
