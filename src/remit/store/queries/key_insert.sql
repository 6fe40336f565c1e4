-- A new access key.
INSERT INTO access_keys (id, grant_id, name, secret_hash, kid, payload, signature, created_at, created_by, expires_at,
                         rotated_from)
VALUES (%(id)s, %(grant_id)s, %(name)s, %(secret_hash)s, %(kid)s, %(payload)s, %(signature)s, %(created_at)s,
        %(created_by)s, %(expires_at)s, %(rotated_from)s)
