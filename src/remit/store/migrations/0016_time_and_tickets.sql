-- What the passing of time has to end: graces of production grants, and what a break-glass raised.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- The grace of a grant whose renewal nobody decided: given once for each regular expiry.
CREATE TABLE graces (
    grant_id      text NOT NULL REFERENCES grants (id),
    regular_until timestamptz NOT NULL,
    until         timestamptz NOT NULL CHECK (until > regular_until),
    PRIMARY KEY (grant_id, regular_until)
);
CREATE TRIGGER graces_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON graces
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();

CREATE TABLE break_glasses (
    ticket_id text PRIMARY KEY REFERENCES tickets (id),
    ends_at   timestamptz NOT NULL,
    raised    jsonb NOT NULL,
    ended_at  timestamptz
);
CREATE INDEX break_glasses_open ON break_glasses (ends_at) WHERE ended_at IS NULL;

GRANT SELECT, INSERT ON graces TO remit_authority;
GRANT SELECT, INSERT, UPDATE (ended_at) ON break_glasses TO remit_authority;
GRANT SELECT ON graces, break_glasses TO remit_reader;

RESET ROLE;
