-- Revokes a person token that is not revoked yet.
UPDATE people_tokens SET revoked_at = %(now)s WHERE id = %(id)s AND revoked_at IS NULL
