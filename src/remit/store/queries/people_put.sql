-- A person who is not known yet.
INSERT INTO people (name, id, source, created_at, created_by)
VALUES (%(name)s, %(id)s, %(source)s, %(now)s, %(by)s)
ON CONFLICT (name) DO NOTHING
