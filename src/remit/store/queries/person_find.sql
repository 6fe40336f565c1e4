-- One person token, whether its person left, and the roles they have: [[role, grant or null], ...].
SELECT t.id, t.name, t.is_admin, t.secret_hash, t.created_at, t.created_by, t.expires_at, t.revoked_at, t.read_only,
       t.grant_id, t.purpose, t.made_with, t.scope, t.kinds, t.sources, p.status = 'left',
       (SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_array(b.role, b.grant_id)), '[]')
        FROM role_bindings AS b WHERE b.person = t.person AND b.ended_at IS NULL)
FROM people_tokens AS t JOIN people AS p ON p.name = t.person WHERE t.id = %(id)s
