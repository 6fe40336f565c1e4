-- Issuer keys, oldest first, with how many living access keys rest on each.
SELECT i.kid, i.status, i.created_at, i.min_issued_at,
       count(k.id) FILTER (WHERE k.revoked_at IS NULL) AS living_keys
FROM issuer_keys AS i LEFT JOIN access_keys AS k ON k.kid = i.kid
GROUP BY i.kid ORDER BY i.created_at, i.kid
