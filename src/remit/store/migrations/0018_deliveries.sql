-- Deliveries of notifications to channels, the threads that tickets have there, and what was heard from there.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- A channel gets what is written after it was set up, not all of history.
CREATE TABLE channels (
    name  text PRIMARY KEY,
    since timestamptz NOT NULL
);

-- One notification on its way to one channel. `error` is why the last attempt failed, without secrets.
CREATE TABLE deliveries (
    notification_id bigint NOT NULL REFERENCES notifications (id),
    channel         text NOT NULL,
    ticket_id       text NOT NULL DEFAULT '',
    state           text NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'delivered', 'dead')),
    attempts        integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL,
    remote_ref      text,
    error           text CHECK (length(error) <= 500),
    created_at      timestamptz NOT NULL,
    delivered_at    timestamptz,
    PRIMARY KEY (notification_id, channel),
    CONSTRAINT the_delivered_say_when CHECK ((state = 'delivered') = (delivered_at IS NOT NULL)),
    CONSTRAINT the_dead_say_why CHECK (state <> 'dead' OR error IS NOT NULL)
);
CREATE INDEX deliveries_due ON deliveries (channel, next_attempt_at) WHERE state = 'due';
CREATE INDEX deliveries_of_tickets ON deliveries (channel, ticket_id, notification_id) WHERE state = 'due' AND ticket_id <> '';
CREATE INDEX deliveries_dead ON deliveries (notification_id) WHERE state = 'dead';
CREATE INDEX notifications_created ON notifications (created_at);

-- Where a channel keeps a ticket: an issue, a message. What comes from there is about that ticket.
CREATE TABLE ticket_threads (
    channel    text NOT NULL,
    remote_ref text NOT NULL,
    ticket_id  text NOT NULL,
    PRIMARY KEY (channel, ticket_id)
);
CREATE INDEX ticket_threads_refs ON ticket_threads (channel, remote_ref);

-- What was heard from channels, so that nothing is carried out twice.
CREATE TABLE heard (
    channel     text NOT NULL,
    delivery_id text NOT NULL,
    at          timestamptz NOT NULL,
    answer      text NOT NULL DEFAULT '',
    PRIMARY KEY (channel, delivery_id)
);

GRANT SELECT, INSERT ON channels TO remit_authority;
GRANT SELECT, INSERT, UPDATE ON deliveries, ticket_threads, heard TO remit_authority;
GRANT SELECT ON channels, deliveries, ticket_threads TO remit_reader;

RESET ROLE;
