-- People who may do all: they have a living token that says so.
SELECT DISTINCT p.name FROM people_tokens AS p
WHERE p.is_admin AND p.revoked_at IS NULL AND p.expires_at > %(now)s
ORDER BY p.name
