-- Gives a person a role.
INSERT INTO role_bindings (id, person, role, grant_id, source, created_at, created_by)
VALUES (%(id)s, %(person)s, %(role)s, %(grant_id)s, %(source)s, %(created_at)s, %(created_by)s)
