-- Revokes a person token and those that were made with it, as far as they are not revoked yet.
WITH RECURSIVE ended AS (
    SELECT id FROM people_tokens WHERE id = %(id)s
    UNION
    SELECT t.id FROM people_tokens AS t JOIN ended AS e ON t.made_with = e.id
)
UPDATE people_tokens SET revoked_at = %(now)s WHERE id IN (SELECT id FROM ended) AND revoked_at IS NULL
