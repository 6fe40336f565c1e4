-- People as records, their roles, and tokens that may do less than the person they stand for.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- A person by their e-mail address in lower case, whatever they own. Who left keeps their row: what they did stays theirs.
-- `manager` is what a directory says; `successor` is who took over when they left.
CREATE TABLE people (
    name           text PRIMARY KEY CHECK (name <> ''),
    id             text NOT NULL UNIQUE,
    status         text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'left')),
    delegate       text,
    delegate_until timestamptz,
    manager        text,
    successor      text,
    left_at        timestamptz,
    external_id    text,
    source         text NOT NULL CHECK (source IN ('command', 'oidc', 'scim')),
    created_at     timestamptz NOT NULL,
    created_by     text NOT NULL,
    CONSTRAINT delegates_stand_in_for_a_time CHECK ((delegate IS NULL) = (delegate_until IS NULL)),
    CONSTRAINT nobody_stands_in_for_themselves CHECK (delegate <> name AND successor <> name),
    CONSTRAINT who_left_left_at_an_instant CHECK ((status = 'left') = (left_at IS NOT NULL))
);

INSERT INTO people (name, id, source, created_at, created_by)
SELECT lower(name), 'person_' || left(md5(lower(name)), 26), 'command', min(created_at), min(created_by)
FROM people_tokens GROUP BY lower(name);

-- Roles, for the whole organization or for a grant and everything below it. A binding ends, it is never removed.
CREATE TABLE role_bindings (
    id         text PRIMARY KEY,
    person     text NOT NULL REFERENCES people (name),
    role       text NOT NULL CHECK (role IN ('org_owner', 'finance', 'security', 'auditor', 'approver',
                                             'gateway_operator')),
    grant_id   text REFERENCES grants (id),
    source     text NOT NULL CHECK (source IN ('command', 'oidc', 'scim')),
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    ended_at   timestamptz,
    ended_by   text,
    CONSTRAINT ended_by_somebody CHECK ((ended_at IS NULL) = (ended_by IS NULL))
);
CREATE UNIQUE INDEX role_bindings_once ON role_bindings (person, role, coalesce(grant_id, ''), source)
    WHERE ended_at IS NULL;

-- A token stands for a person, and may do less than they may: only read, or only below one grant. `made_with` is the token
-- its maker showed; it ends with that one.
ALTER TABLE people_tokens
    ADD COLUMN person text REFERENCES people (name),
    ADD COLUMN read_only boolean NOT NULL DEFAULT false,
    ADD COLUMN grant_id text REFERENCES grants (id),
    ADD COLUMN purpose text NOT NULL DEFAULT '',
    ADD COLUMN made_with text REFERENCES people_tokens (id);
UPDATE people_tokens SET person = lower(name);
ALTER TABLE people_tokens ALTER COLUMN person SET NOT NULL;
CREATE INDEX people_tokens_person ON people_tokens (person);
CREATE INDEX people_tokens_made_with ON people_tokens (made_with);

-- Whoever decides is checked before; this holds should anything forget to.
CREATE FUNCTION refuse_deciding_after_leaving() RETURNS trigger
LANGUAGE plpgsql SET search_path = remit, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM people
               WHERE status = 'left'
                 AND name = ANY (ARRAY (SELECT lower(x) FROM unnest(NEW.approved_by) AS x
                                        WHERE x <> ALL (OLD.approved_by))
                                 || CASE WHEN NEW.state IN ('approved', 'declined') THEN lower(NEW.decided_by) END)) THEN
        RAISE EXCEPTION 'a person who left decides no ticket' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER who_left_decides_nothing BEFORE UPDATE ON tickets
    FOR EACH ROW WHEN (OLD.state = 'open') EXECUTE FUNCTION refuse_deciding_after_leaving();

GRANT SELECT, INSERT, UPDATE ON people TO remit_authority;
GRANT SELECT, INSERT, UPDATE (ended_at, ended_by) ON role_bindings TO remit_authority;
GRANT SELECT ON people, role_bindings TO remit_reader;

RESET ROLE;
