-- What one access key stands for.
SELECT id, grant_id, name, secret_hash, kid, payload, signature, created_at, created_by, expires_at, rotated_from,
       revoked_at, revoked_by
FROM access_keys WHERE id = %(id)s
