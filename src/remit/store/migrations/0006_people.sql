-- Tokens of people (and of their CI jobs) for the control plane. A token says who asks, and whether they are an admin;
-- what they may do is read from the tree.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

CREATE TABLE people_tokens (
    id text PRIMARY KEY,
    name text NOT NULL,
    is_admin boolean NOT NULL,
    secret_hash bytea NOT NULL CHECK (length(secret_hash) = 32),
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > created_at),
    revoked_at timestamptz
);

GRANT SELECT, INSERT, UPDATE ON people_tokens TO remit_authority;

RESET ROLE;
