-- Access keys as the gateway needs them. Revoked ones are included: they are answered as revoked, not as unknown.
SELECT id, grant_id, secret_hash, kid, payload, signature, revoked_at FROM access_keys
