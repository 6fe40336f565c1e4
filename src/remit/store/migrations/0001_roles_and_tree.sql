-- Roles, the grant tree, credentials and the one number that says which state of them is current.
--
-- Roles are created only where missing, so that an administrator may create them (with passwords) beforehand.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['remit_owner', 'remit_authority', 'remit_gateway', 'remit_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
        END IF;
        -- So that the migrating user can hand objects over and processes can step down with SET ROLE.
        IF NOT pg_has_role(role_name, 'MEMBER') THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', role_name);
        END IF;
    END LOOP;
END
$$;

CREATE SCHEMA remit AUTHORIZATION remit_owner;
GRANT USAGE ON SCHEMA remit TO remit_authority, remit_gateway, remit_reader;
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- Nothing in this schema is for everybody.
ALTER DEFAULT PRIVILEGES FOR ROLE remit_owner IN SCHEMA remit REVOKE ALL ON TABLES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE remit_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- The state of the tree -----------------------------------------------------------------------------------------

-- One row. `revision` grows with every change of grants, credentials or issuer keys; a hold is taken only by a
-- gateway that has read this very revision, so no decision is ever made on an outdated tree.
CREATE TABLE tree_state (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    revision bigint NOT NULL
);
INSERT INTO tree_state (revision) VALUES (1);

-- Writers of the tree hold this advisory lock alone, takers and finishers of holds share it. Taking it in one place
-- keeps the key in one place.
CREATE FUNCTION lock_tree(p_exclusive boolean) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF p_exclusive THEN
        PERFORM pg_advisory_xact_lock(7237494);
    ELSE
        PERFORM pg_advisory_xact_lock_shared(7237494);
    END IF;
END
$$;

CREATE FUNCTION bump_tree_revision() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp AS $$
DECLARE
    new_revision bigint;
BEGIN
    PERFORM lock_tree(true);
    UPDATE tree_state SET revision = revision + 1 RETURNING revision INTO new_revision;
    PERFORM pg_notify('remit_tree', new_revision::text);
    RETURN NULL;
END
$$;

CREATE FUNCTION refuse_rewriting_history() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: history is never updated or deleted', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;

-- Grants --------------------------------------------------------------------------------------------------------

-- A path names one grant for ever, also after it was revoked.
CREATE TABLE grants (
    id text PRIMARY KEY,
    path text NOT NULL UNIQUE,
    parent_id text REFERENCES grants (id),
    owner text NOT NULL,
    class text NOT NULL CHECK (class IN ('production', 'experimentation')),
    status text NOT NULL CHECK (status IN ('requested', 'active', 'suspended', 'expired', 'revoked')),
    starts_at timestamptz,
    expires_at timestamptz NOT NULL,
    revision bigint NOT NULL CHECK (revision > 0),
    epoch bigint NOT NULL CHECK (epoch >= 0),
    body jsonb NOT NULL
);
CREATE INDEX grants_parent ON grants (parent_id);

CREATE TABLE grant_revisions (
    grant_id text NOT NULL REFERENCES grants (id),
    revision bigint NOT NULL,
    body jsonb NOT NULL,
    changed_at timestamptz NOT NULL,
    changed_by text NOT NULL,
    reason text NOT NULL,
    idempotency_key text,
    PRIMARY KEY (grant_id, revision)
);

-- The first answer to each idempotent write.
CREATE TABLE answers (
    idempotency_key text PRIMARY KEY,
    body jsonb NOT NULL,
    answer jsonb NOT NULL,
    answered_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Credentials ---------------------------------------------------------------------------------------------------

CREATE TABLE issuer_keys (
    kid text PRIMARY KEY,
    public_key bytea NOT NULL CHECK (length(public_key) = 32),
    status text NOT NULL CHECK (status IN ('signing', 'verify_only', 'revoked')),
    created_at timestamptz NOT NULL
);

-- An access key stands for a stored capability: block_0 with its signature, without the holder's secret.
CREATE TABLE access_keys (
    id text PRIMARY KEY,
    grant_id text NOT NULL REFERENCES grants (id),
    name text NOT NULL,
    secret_hash bytea NOT NULL CHECK (length(secret_hash) = 32),
    kid text NOT NULL REFERENCES issuer_keys (kid),
    payload bytea NOT NULL,
    signature bytea NOT NULL CHECK (length(signature) = 64),
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    expires_at timestamptz NOT NULL,
    rotated_from text REFERENCES access_keys (id),
    revoked_at timestamptz,
    revoked_by text
);
CREATE INDEX access_keys_grant ON access_keys (grant_id);

CREATE TRIGGER grants_bump AFTER INSERT OR UPDATE OR DELETE ON grants
    FOR EACH STATEMENT EXECUTE FUNCTION bump_tree_revision();
CREATE TRIGGER access_keys_bump AFTER INSERT OR UPDATE OR DELETE ON access_keys
    FOR EACH STATEMENT EXECUTE FUNCTION bump_tree_revision();
CREATE TRIGGER issuer_keys_bump AFTER INSERT OR UPDATE OR DELETE ON issuer_keys
    FOR EACH STATEMENT EXECUTE FUNCTION bump_tree_revision();
CREATE TRIGGER grant_revisions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON grant_revisions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();

GRANT SELECT ON tree_state, grants, grant_revisions, issuer_keys TO remit_authority, remit_reader;
GRANT SELECT ON access_keys, answers TO remit_authority;
GRANT SELECT ON tree_state, grants, issuer_keys, access_keys TO remit_gateway;
GRANT INSERT, UPDATE ON grants, issuer_keys, access_keys TO remit_authority;
GRANT INSERT ON grant_revisions, answers TO remit_authority;
GRANT EXECUTE ON FUNCTION lock_tree(boolean) TO remit_authority;

RESET ROLE;
