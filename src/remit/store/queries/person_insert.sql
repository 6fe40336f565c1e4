-- A new person token.
INSERT INTO people_tokens (id, name, is_admin, secret_hash, created_at, created_by, expires_at)
VALUES (%(id)s, %(name)s, %(is_admin)s, %(secret_hash)s, %(created_at)s, %(created_by)s, %(expires_at)s)
