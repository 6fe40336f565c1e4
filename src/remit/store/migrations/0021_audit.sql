-- The audit: every change of authority with who made it, why, and what it was before; and every write that was refused.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

SELECT lock_tree(true);

-- `at` is the authority's clock, `recorded_at` the database's. `subject_kind` and `subject_id` name what was changed, `grant_id`
-- and `path` the grant it belongs to, as it was called then. A change has `before` (null for something new) and `after`, without
-- secrets; a refused write has `problems` instead: [{code, path, detail}].
CREATE TABLE audit (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL CHECK (actor <> ''),
    operation text NOT NULL CHECK (operation <> ''),
    reason text NOT NULL,
    request_key text NOT NULL,
    source text NOT NULL CHECK (source IN ('command', 'api', 'upkeep', 'hook', 'start')),
    outcome text NOT NULL CHECK (outcome IN ('done', 'refused')),
    subject_kind text,
    subject_id text,
    grant_id text,
    path text,
    before jsonb,
    after jsonb,
    problems jsonb,
    row_hash bytea NOT NULL,
    CONSTRAINT changes_say_what_became CHECK (CASE outcome WHEN 'done' THEN num_nulls(subject_kind, subject_id, after) = 0
                                                           ELSE num_nonnulls(before, after) = 0 END),
    CONSTRAINT refusals_say_why CHECK ((outcome = 'refused') = (problems IS NOT NULL))
);
CREATE INDEX audit_grant ON audit (grant_id, seq);
CREATE INDEX audit_subject ON audit (subject_kind, subject_id, seq);
CREATE INDEX audit_actor ON audit (lower(actor), seq);

CREATE FUNCTION audit_hash_of(p_row audit) RETURNS bytea
LANGUAGE sql STABLE SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
    SELECT sha256(convert_to((to_jsonb(p_row) - 'seq' - 'row_hash')::text, 'UTF8'))
$$;

CREATE FUNCTION seal_audit() RETURNS trigger
LANGUAGE plpgsql SET search_path = remit, pg_temp AS $$
BEGIN
    NEW.row_hash := audit_hash_of(NEW);
    RETURN NEW;
END
$$;
CREATE TRIGGER audit_seal BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION seal_audit();
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();

-- Appends what the transaction's author did. Who writes says so first (`audit_say.sql`), for one transaction; nobody writes
-- anything that is audited without having said it.
CREATE FUNCTION append_audit(p_kind text, p_id text, p_grant_id text, p_path text, p_before jsonb, p_after jsonb, p_problems jsonb)
RETURNS void
LANGUAGE plpgsql SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_said jsonb := nullif(current_setting('remit.author', true), '')::jsonb;
BEGIN
    IF v_said IS NULL THEN
        RAISE EXCEPTION 'nobody said who changes the % `%`, and why', p_kind, p_id USING ERRCODE = 'insufficient_privilege';
    END IF;
    INSERT INTO audit (at, actor, operation, reason, request_key, source, outcome, subject_kind, subject_id, grant_id, path,
                       before, after, problems)
    VALUES ((v_said ->> 'at')::timestamptz, v_said ->> 'actor', v_said ->> 'operation', v_said ->> 'reason', v_said ->> 'request_key',
            v_said ->> 'source', CASE WHEN p_problems IS NULL THEN 'done' ELSE 'refused' END, p_kind, p_id, p_grant_id,
            coalesce(p_path, (SELECT g.path FROM grants AS g WHERE g.id = p_grant_id)), p_before, p_after, p_problems);
END
$$;

-- What of a row stands in the audit: a grant as it is written in its revisions, anything else without what is secret or bulky.
CREATE FUNCTION audited_form(p_row jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_row ? 'body' THEN p_row -> 'body' ELSE p_row - '{secret_hash,payload,signature}'::text[] END
$$;

-- Arguments: what such a row is called, and the column that is its id.
CREATE FUNCTION audit_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_old jsonb := CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE to_jsonb(OLD) END;
    v_new jsonb := to_jsonb(NEW);
BEGIN
    IF v_old IS DISTINCT FROM v_new THEN
        PERFORM append_audit(
            TG_ARGV[0], v_new ->> TG_ARGV[1],
            CASE TG_ARGV[0] WHEN 'grant' THEN v_new ->> 'id'
                            WHEN 'trip_end' THEN (SELECT t.grant_id FROM trips AS t WHERE t.id = v_new ->> 'trip_id')
                            ELSE v_new ->> 'grant_id' END,
            v_new ->> 'path', audited_form(v_old), audited_form(v_new), NULL);
    END IF;
    RETURN NULL;
END
$$;

-- A write that was refused: of what it was about, where that is known, and of the grant of that id or path, or the nearest one
-- above that path.
CREATE FUNCTION audit_refusal(p_kind text, p_id text, p_about text, p_problems jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = remit, pg_temp AS $$
    SELECT append_audit(p_kind, p_id, found.id, CASE WHEN found.id = p_about THEN found.path ELSE p_about END, NULL, NULL, p_problems)
    FROM (SELECT 1) AS always
    LEFT JOIN LATERAL (
        SELECT g.id, g.path FROM grants AS g
        WHERE g.id = p_about OR g.path = p_about OR starts_with(p_about, g.path || '/')
        ORDER BY length(g.path) DESC LIMIT 1
    ) AS found ON true
$$;

-- What a person did that stands in no audited table.
CREATE FUNCTION audit_deed(p_kind text, p_id text, p_grant_id text, p_what jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = remit, pg_temp AS $$
    SELECT append_audit(p_kind, p_id, p_grant_id, NULL, NULL, p_what, NULL)
$$;

-- What there is already was not audited when it came to be; it is written down once, as it is now.
SELECT set_config('remit.author', jsonb_build_object('at', now(), 'actor', 'remit', 'operation', 'audit begins', 'source', 'start',
                  'reason', 'as it was found when the audit began', 'request_key', '')::text, true);
SELECT append_audit('grant', t.id, t.id, t.path, NULL, audited_form(to_jsonb(t)), NULL) FROM grants AS t ORDER BY t.id;
SELECT append_audit('access_key', t.id, t.grant_id, NULL, NULL, audited_form(to_jsonb(t)), NULL) FROM access_keys AS t ORDER BY t.id;
SELECT append_audit('issuer_key', t.kid, NULL, NULL, NULL, audited_form(to_jsonb(t)), NULL) FROM issuer_keys AS t ORDER BY t.kid;
SELECT append_audit('person', t.name, NULL, NULL, NULL, audited_form(to_jsonb(t)), NULL) FROM people AS t ORDER BY t.name;
SELECT append_audit('token', t.id, t.grant_id, NULL, NULL, audited_form(to_jsonb(t)), NULL) FROM people_tokens AS t ORDER BY t.id;
SELECT append_audit('role', t.id, t.grant_id, NULL, NULL, audited_form(to_jsonb(t)), NULL) FROM role_bindings AS t ORDER BY t.id;
SELECT append_audit('ticket', t.id, t.grant_id, t.path, NULL, audited_form(to_jsonb(t)), NULL) FROM tickets AS t ORDER BY t.id;
SELECT append_audit('revocation', t.id, t.grant_id, NULL, NULL, audited_form(to_jsonb(t)), NULL) FROM revocations AS t ORDER BY t.seq;
SELECT append_audit('trip_end', t.trip_id, p.grant_id, NULL, NULL, audited_form(to_jsonb(t)), NULL)
FROM trip_ends AS t JOIN trips AS p ON p.id = t.trip_id ORDER BY t.trip_id;
SELECT set_config('remit.author', '', true);

CREATE TRIGGER grants_audit AFTER INSERT OR UPDATE ON grants
    FOR EACH ROW EXECUTE FUNCTION audit_change('grant', 'id');
CREATE TRIGGER access_keys_audit AFTER INSERT OR UPDATE ON access_keys
    FOR EACH ROW EXECUTE FUNCTION audit_change('access_key', 'id');
CREATE TRIGGER issuer_keys_audit AFTER INSERT OR UPDATE ON issuer_keys
    FOR EACH ROW EXECUTE FUNCTION audit_change('issuer_key', 'kid');
CREATE TRIGGER people_audit AFTER INSERT OR UPDATE ON people
    FOR EACH ROW EXECUTE FUNCTION audit_change('person', 'name');
CREATE TRIGGER people_tokens_audit AFTER INSERT OR UPDATE ON people_tokens
    FOR EACH ROW EXECUTE FUNCTION audit_change('token', 'id');
CREATE TRIGGER role_bindings_audit AFTER INSERT OR UPDATE ON role_bindings
    FOR EACH ROW EXECUTE FUNCTION audit_change('role', 'id');
CREATE TRIGGER tickets_audit AFTER INSERT OR UPDATE ON tickets
    FOR EACH ROW EXECUTE FUNCTION audit_change('ticket', 'id');
CREATE TRIGGER revocations_audit AFTER INSERT ON revocations
    FOR EACH ROW EXECUTE FUNCTION audit_change('revocation', 'id');
CREATE TRIGGER trip_ends_audit AFTER INSERT ON trip_ends
    FOR EACH ROW EXECUTE FUNCTION audit_change('trip_end', 'trip_id');
-- What a gateway says of a holder's block is no decision of anybody here; what a gateway notes at it later is no change of it.
CREATE TRIGGER capability_blocks_audit AFTER INSERT ON capability_blocks
    FOR EACH ROW WHEN (NEW.issued_by IS NOT NULL) EXECUTE FUNCTION audit_change('capability', 'id');

GRANT SELECT ON audit TO remit_authority, remit_reader;
GRANT EXECUTE ON FUNCTION audit_refusal, audit_deed TO remit_authority;
GRANT EXECUTE ON FUNCTION audit_hash_of, audited_form TO remit_authority, remit_reader;

RESET ROLE;
