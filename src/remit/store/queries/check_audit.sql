-- What the audit does not account for: rows of it that are not as they were written, and things that are no longer as the last
-- row about them says. How many rows and things were looked at comes with each difference, and alone where there is none.
WITH things (kind, id, form) AS (
    SELECT 'grant', t.id, audited_form(to_jsonb(t)) FROM grants AS t
    UNION ALL SELECT 'access_key', t.id, audited_form(to_jsonb(t)) FROM access_keys AS t
    UNION ALL SELECT 'issuer_key', t.kid, audited_form(to_jsonb(t)) FROM issuer_keys AS t
    UNION ALL SELECT 'person', t.name, audited_form(to_jsonb(t)) FROM people AS t
    UNION ALL SELECT 'token', t.id, audited_form(to_jsonb(t)) FROM people_tokens AS t
    UNION ALL SELECT 'role', t.id, audited_form(to_jsonb(t)) FROM role_bindings AS t
    UNION ALL SELECT 'ticket', t.id, audited_form(to_jsonb(t)) FROM tickets AS t
    UNION ALL SELECT 'tag', t.name, to_jsonb(t) FROM tag_names AS t
    UNION ALL SELECT 'cost_rule', t.name, to_jsonb(t) FROM cost_rules AS t
), last_words AS (
    SELECT DISTINCT ON (a.subject_kind, a.subject_id) a.subject_kind, a.subject_id, a.after
    FROM audit AS a WHERE a.outcome = 'done'
    ORDER BY a.subject_kind, a.subject_id, a.seq DESC
), differences (subject, expected, found) AS (
    SELECT 'audit row ' || a.seq, encode(a.row_hash, 'hex'), encode(audit_hash_of(a), 'hex')
    FROM audit AS a WHERE a.row_hash IS DISTINCT FROM audit_hash_of(a)
    UNION ALL
    -- A column that a later version added is no change of what was said before it.
    SELECT t.kind || ' ' || t.id, 'as the audit says',
           CASE WHEN w.after IS NULL THEN 'nothing in the audit'
                ELSE 'another ' || (SELECT string_agg(k.key, ', ' ORDER BY k.key) FROM jsonb_each(w.after) AS k
                                    WHERE k.value IS DISTINCT FROM t.form -> k.key) END
    FROM things AS t LEFT JOIN last_words AS w ON (w.subject_kind, w.subject_id) = (t.kind, t.id)
    WHERE w.after IS NULL OR NOT t.form @> w.after
)
SELECT d.subject, d.expected, d.found, (SELECT count(*) FROM audit) + (SELECT count(*) FROM things)
FROM (SELECT 1) AS always LEFT JOIN differences AS d ON true
ORDER BY d.subject
