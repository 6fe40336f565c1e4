-- What was revoked, by whom and why; issuer keys with a cut-off; and which gateways know of what state of the tree.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- Capabilities issued by this key before that instant are refused. It only ever moves later.
ALTER TABLE issuer_keys ADD COLUMN min_issued_at timestamptz;

-- `subject` is a block's id, an access key's id, a grant's id or an issuer key's kid. `tree_revision` is the state of the tree
-- in which the revocation is in effect: a gateway that knows it, or a later one, admits nothing of the subject. Gateways need a
-- block's row until `keep_until`, when the block is over by itself; the history stays.
CREATE TABLE revocations (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE,
    kind text NOT NULL CHECK (kind IN ('block', 'key', 'grant', 'issuer')),
    subject text NOT NULL,
    grant_id text REFERENCES grants (id),
    cut_streams boolean NOT NULL,
    issued_before timestamptz,
    keep_until timestamptz,
    tree_revision bigint NOT NULL,
    revoked_at timestamptz NOT NULL,
    revoked_by text NOT NULL,
    reason text NOT NULL,
    CONSTRAINT all_but_issuers_are_of_a_grant CHECK ((kind = 'issuer') = (grant_id IS NULL)),
    CONSTRAINT only_issuers_have_a_cut_off CHECK (kind = 'issuer' OR issued_before IS NULL),
    CONSTRAINT only_blocks_are_forgotten CHECK ((kind = 'block') = (keep_until IS NOT NULL))
);
CREATE INDEX revocations_subject ON revocations (kind, subject);
CREATE INDEX revocations_kept ON revocations (keep_until) WHERE kind = 'block';
CREATE INDEX revocations_cut ON revocations (revoked_at) WHERE cut_streams;
CREATE TRIGGER revocations_bump AFTER INSERT ON revocations
    FOR EACH STATEMENT EXECUTE FUNCTION bump_tree_revision();
CREATE TRIGGER revocations_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON revocations
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();

-- One row for each run of a gateway process that has not ended in an orderly way. All instants are this server's: the clocks of
-- gateways differ, and whether one is still there is judged by one clock.
CREATE TABLE gateways (
    id text PRIMARY KEY,
    name text NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    acknowledged_revision bigint NOT NULL
);

-- A gateway says which state of the tree it goes by: after it was read, and as a sign of life. Whoever waits for it hears of a
-- newer state. A gateway that was never heard of again is forgotten when another one comes, an hour later at the earliest.
CREATE FUNCTION acknowledge(p_id text, p_name text, p_revision bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_revision bigint := least(p_revision, (SELECT revision FROM tree_state));
    v_known bigint;
BEGIN
    SELECT acknowledged_revision INTO v_known FROM gateways WHERE id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        DELETE FROM gateways WHERE seen_at < v_now - interval '1 hour';
        INSERT INTO gateways VALUES (p_id, p_name, v_now, v_now, v_revision) ON CONFLICT DO NOTHING;
    ELSE
        UPDATE gateways SET seen_at = v_now, acknowledged_revision = greatest(v_known, v_revision) WHERE id = p_id;
    END IF;
    IF v_known IS NULL OR v_revision > v_known THEN
        PERFORM pg_notify('remit_acks', p_id || ' ' || v_revision);
    END IF;
END
$$;

CREATE FUNCTION forget_gateway(p_id text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = remit, pg_temp AS $$
    DELETE FROM gateways WHERE id = p_id;
    SELECT pg_notify('remit_acks', p_id || ' gone');
$$;

GRANT SELECT ON revocations, gateways TO remit_authority, remit_reader;
GRANT INSERT ON revocations TO remit_authority;
GRANT SELECT (kind, subject, cut_streams, keep_until, revoked_at) ON revocations TO remit_gateway;
GRANT EXECUTE ON FUNCTION acknowledge(text, text, bigint), forget_gateway(text) TO remit_gateway;

RESET ROLE;
