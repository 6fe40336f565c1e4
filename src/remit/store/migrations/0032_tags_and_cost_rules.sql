-- What values a tag may have, and how shared cost is divided between those who pay: written down, with who changed it and why.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

SELECT lock_tree(true);

-- Every revision of a governed tag; the last one counts. `allowed` is NULL where any value will do, `retired` are values that were
-- allowed once. With `grant_id` it holds for that grant and what is below it, else everywhere.
CREATE TABLE tag_revisions (
    name        text NOT NULL CHECK (name ~ '^[a-z][a-z0-9_.-]{0,62}$'),
    revision    integer NOT NULL CHECK (revision > 0),
    owner       text NOT NULL CHECK (owner <> ''),
    description text NOT NULL,
    allowed     text[],
    retired     text[] NOT NULL,
    grant_id    text REFERENCES grants (id),
    is_retired  boolean NOT NULL,
    changed_at  timestamptz NOT NULL,
    changed_by  text NOT NULL,
    reason      text NOT NULL,
    PRIMARY KEY (name, revision)
);
CREATE VIEW tag_names AS
SELECT DISTINCT ON (name) * FROM tag_revisions ORDER BY name, revision DESC;
-- What a gateway needs of it: not who changed it and why.
CREATE VIEW governed_tags AS
SELECT name, revision, owner, allowed, retired, grant_id FROM tag_names WHERE NOT is_retired;

-- Every revision of a rule that divides cost; the last one counts. `body` is {source, method, use?, targets?}.
CREATE TABLE cost_rule_revisions (
    name        text NOT NULL CHECK (name ~ '^[a-z][a-z0-9_.-]{0,62}$'),
    revision    integer NOT NULL CHECK (revision > 0),
    owner       text NOT NULL CHECK (owner <> ''),
    description text NOT NULL,
    body        jsonb NOT NULL CHECK (body ?& '{source,method}'),
    is_retired  boolean NOT NULL,
    changed_at  timestamptz NOT NULL,
    changed_by  text NOT NULL,
    reason      text NOT NULL,
    PRIMARY KEY (name, revision)
);
CREATE VIEW cost_rules AS
SELECT DISTINCT ON (name) * FROM cost_rule_revisions ORDER BY name, revision DESC;

-- As audit_change, where each change is a row of its own: what was before is the revision before. Its argument: what such a row is
-- called.
CREATE FUNCTION audit_revision() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_new jsonb := to_jsonb(NEW);
    v_before jsonb;
BEGIN
    EXECUTE format('SELECT to_jsonb(t) FROM %I AS t WHERE name = $1 AND revision = $2 - 1', TG_TABLE_NAME)
        INTO v_before USING NEW.name, NEW.revision;
    IF v_before IS NULL AND NEW.revision > 1 THEN
        RAISE EXCEPTION 'there is no revision before % of %', NEW.revision, NEW.name USING ERRCODE = 'check_violation';
    END IF;
    PERFORM append_audit(TG_ARGV[0], NEW.name, v_new ->> 'grant_id', NULL, v_before, v_new, NULL);
    RETURN NULL;
END
$$;

CREATE TRIGGER tag_revisions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON tag_revisions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();
CREATE TRIGGER tag_revisions_audit AFTER INSERT ON tag_revisions FOR EACH ROW EXECUTE FUNCTION audit_revision('tag');
-- Gateways read it with the tree, and hear of its changes as they do of the tree's.
CREATE TRIGGER tag_revisions_bump AFTER INSERT ON tag_revisions
    FOR EACH STATEMENT EXECUTE FUNCTION bump_tree_revision();
CREATE TRIGGER cost_rule_revisions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON cost_rule_revisions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();
CREATE TRIGGER cost_rule_revisions_audit AFTER INSERT ON cost_rule_revisions
    FOR EACH ROW EXECUTE FUNCTION audit_revision('cost_rule');

-- What the rules moved of a month: their settlement says {month, rule, part: "from" | "to"}.
CREATE INDEX entries_allocated ON entries ((settlement ->> 'month')) WHERE kind = 'transfer';

-- What was charged of a month's use, but for what was moved: sums by grant and by what reports group by. Read from the sums that
-- are kept, and from entries that are not in them yet.
CREATE FUNCTION charged_in(p_month date)
RETURNS TABLE (grant_id text, dims jsonb, amount_nanousd bigint, tokens bigint, requests bigint)
LANGUAGE sql STABLE SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
    SELECT c.grant_id, c.dims, sum(c.amount_nanousd)::bigint, sum(c.tokens)::bigint, sum(c.requests)::bigint
    FROM (
        SELECT s.grant_id, s.dims, d.amount_nanousd, d.tokens, d.requests
        FROM rollup_days AS d JOIN rollup_series AS s ON s.id = d.series_id
        WHERE d.day >= p_month AND d.day < (p_month + interval '1 month')::date
        UNION ALL
        SELECT f.grant_id, dims_of(f.tags, f.class, f.owner, f.kind, f.grant_path, f.vendor, f.deployment, f.model, f.tier),
               f.amount_nanousd, f.tokens, f.requests
        FROM entry_facts AS f, rollup_state AS r
        WHERE f.seq > r.seq AND f.held_at >= p_month::timestamp AT TIME ZONE 'UTC'
          AND f.held_at < (p_month + interval '1 month') AT TIME ZONE 'UTC'
    ) AS c
    WHERE c.dims ->> 'kind' <> 'transfer'
    GROUP BY 1, 2
$$;

-- Whether what was charged meets the conditions of a report: {name: [values]}, where an empty value stands for none.
CREATE FUNCTION meets(p_dims jsonb, p_only jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT NOT EXISTS (SELECT FROM jsonb_each(p_only) AS o WHERE NOT o.value ? coalesce(p_dims ->> o.key, ''))
$$;

GRANT SELECT ON tag_revisions, tag_names, governed_tags, cost_rule_revisions, cost_rules TO remit_authority, remit_reader;
GRANT SELECT ON governed_tags TO remit_gateway;
GRANT INSERT ON tag_revisions, cost_rule_revisions TO remit_authority;
GRANT EXECUTE ON FUNCTION charged_in(date), meets(jsonb, jsonb) TO remit_authority, remit_reader;

RESET ROLE;
