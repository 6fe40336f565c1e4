-- All person tokens, or those of one person.
SELECT t.id, t.name, t.is_admin, t.secret_hash, t.created_at, t.created_by, t.expires_at, t.revoked_at, t.read_only,
       t.grant_id, t.purpose, t.made_with, t.scope, t.kinds, t.sources
FROM people_tokens AS t
WHERE %(person)s::text IS NULL OR t.person = %(person)s
ORDER BY t.name, t.created_at, t.id
