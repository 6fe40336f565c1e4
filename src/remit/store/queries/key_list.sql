-- Access keys, of one grant or of all. Secrets are not among the columns.
SELECT k.id, k.grant_id, g.path, k.name, k.created_at, k.created_by, k.expires_at, k.revoked_at, k.revoked_by,
       k.rotated_from
FROM access_keys AS k JOIN grants AS g ON g.id = k.grant_id
WHERE %(grant_id)s::text IS NULL OR k.grant_id = %(grant_id)s
ORDER BY g.path, k.created_at
