-- Tickets: requests for a person's decision. And notifications about more than limits, to people by name.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- One row per ticket as it is now; what led there is in its events. `effect` is what an approval carries out,
-- `evidence` what was gathered when the ticket was opened. Of tickets with one `dedupe_key` at most one is open.
CREATE TABLE tickets (
    id              text PRIMARY KEY,
    kind            text NOT NULL CHECK (kind IN ('grant', 'renew', 'increase', 'transfer', 'break_glass', 'debt', 'finding')),
    grant_id        text REFERENCES grants (id),
    path            text NOT NULL,
    requester       text NOT NULL,
    assignees       text[] NOT NULL CHECK (cardinality(assignees) > 0),
    approved_by     text[] NOT NULL DEFAULT '{}',
    needed          integer NOT NULL DEFAULT 1 CHECK (needed IN (1, 2)),
    tier            text NOT NULL CHECK (tier IN ('auto', 'small', 'standard', 'large')),
    level           integer NOT NULL DEFAULT 0 CHECK (level >= 0),
    state           text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'approved', 'declined', 'withdrawn', 'expired')),
    opened_at       timestamptz NOT NULL,
    due_at          timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL CHECK (expires_at > opened_at),
    decided_at      timestamptz,
    decided_by      text,
    decision_reason text,
    reason          text NOT NULL,
    effect          jsonb NOT NULL,
    evidence        jsonb NOT NULL,
    dedupe_key      text,
    revision        bigint NOT NULL CHECK (revision > 0),
    CONSTRAINT nobody_decides_their_own CHECK (decided_by IS NULL OR state IN ('withdrawn', 'expired')
                                               OR lower(decided_by) <> lower(requester)),
    CONSTRAINT ended_tickets_say_by_whom CHECK ((state = 'open') = (decided_at IS NULL)
                                                AND (state = 'open') = (decided_by IS NULL)
                                                AND (state = 'open') = (decision_reason IS NULL))
);
CREATE UNIQUE INDEX tickets_one_open ON tickets (dedupe_key) WHERE state = 'open' AND dedupe_key IS NOT NULL;
CREATE INDEX tickets_open ON tickets (due_at) WHERE state = 'open';
CREATE INDEX tickets_grant ON tickets (grant_id);

-- What happened to tickets, oldest first: never changed, never removed.
CREATE TABLE ticket_events (
    seq       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ticket_id text NOT NULL REFERENCES tickets (id),
    at        timestamptz NOT NULL,
    who       text NOT NULL,
    what      text NOT NULL CHECK (what IN ('opened', 'commented', 'approved', 'declined', 'withdrawn', 'expired',
                                            'escalated', 'reassigned')),
    text      text NOT NULL DEFAULT '',
    source    text NOT NULL DEFAULT 'remit'
);
CREATE INDEX ticket_events_ticket ON ticket_events (ticket_id, seq);
CREATE TRIGGER ticket_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ticket_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();

GRANT SELECT, INSERT, UPDATE ON tickets TO remit_authority;
GRANT SELECT, INSERT ON ticket_events TO remit_authority;
GRANT SELECT ON tickets, ticket_events TO remit_reader;

-- Notifications to people by name, about tickets and about grants.
ALTER TABLE notifications
    ADD COLUMN recipients text[] NOT NULL DEFAULT '{}',
    ADD COLUMN ticket_id text NOT NULL DEFAULT '',
    DROP CONSTRAINT notifications_kind_check,
    DROP CONSTRAINT notifications_audience_check,
    DROP CONSTRAINT notifications_kind_node_id_dimension_threshold_period_kind__key;
ALTER TABLE notifications
    ADD CONSTRAINT notifications_kind_check CHECK (kind IN (
        'threshold', 'cap_reached', 'overdraft', 'overage', 'forecast_exhaustion', 'class_mismatch', 'suspense',
        'ticket_opened', 'ticket_escalated', 'ticket_commented', 'ticket_decided', 'ticket_expired',
        'renewal_due', 'grace', 'lapsed', 'runaway', 'debt', 'ownerless', 'break_glass', 'finding')),
    ADD CONSTRAINT notifications_audience_check CHECK (audience IN ('owner', 'on_call', 'security', 'named')),
    ADD CONSTRAINT the_named_are_named CHECK (audience <> 'named' OR cardinality(recipients) > 0),
    ADD CONSTRAINT notifications_once UNIQUE (kind, node_id, dimension, threshold, period_kind, period_start, ticket_id);
GRANT INSERT ON notifications TO remit_authority;

RESET ROLE;
