-- Makes an issuer's public key known.
INSERT INTO issuer_keys (kid, public_key, status, created_at) VALUES (%(kid)s, %(public_key)s, 'signing', %(now)s)
ON CONFLICT (kid) DO NOTHING
