-- Issuer keys as a gateway needs them. Revoked ones are included: what they signed is answered as revoked, not as unknown.
SELECT kid, public_key, status, min_issued_at FROM issuer_keys
