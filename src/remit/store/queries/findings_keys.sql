-- Access keys that can be used, and whether a hold was taken with them. The id of a key's block is a hash over its content.
SELECT k.id, k.grant_id, k.name, k.created_at, k.payload,
       EXISTS (SELECT FROM capability_blocks AS c
               WHERE c.id = encode(sha256('rmt1-id\000'::bytea || decode(repeat('00', 32), 'hex') || k.payload), 'hex')
                 AND c.first_held_at IS NOT NULL) AS is_used
FROM access_keys AS k
WHERE k.revoked_at IS NULL AND k.expires_at > %(now)s
ORDER BY k.grant_id, k.created_at
