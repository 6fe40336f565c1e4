-- Revokes an access key that is not revoked yet.
UPDATE access_keys SET revoked_at = %(now)s, revoked_by = %(by)s WHERE id = %(id)s AND revoked_at IS NULL
