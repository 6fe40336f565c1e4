-- Issuer keys that still verify.
SELECT kid, public_key, status FROM issuer_keys WHERE status <> 'revoked'
