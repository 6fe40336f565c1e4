-- A new person token.
INSERT INTO people_tokens (id, name, person, is_admin, secret_hash, created_at, created_by, expires_at, read_only, grant_id,
                           purpose, made_with, scope, kinds, sources)
VALUES (%(id)s, %(name)s, %(person)s, %(is_admin)s, %(secret_hash)s, %(created_at)s, %(created_by)s, %(expires_at)s,
        %(read_only)s, %(grant_id)s, %(purpose)s, %(made_with)s, %(scope)s, %(kinds)s, %(sources)s)
