-- One person token.
SELECT id, name, is_admin, secret_hash, created_at, created_by, expires_at, revoked_at
FROM people_tokens WHERE id = %(id)s
