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

RESET ROLE;
