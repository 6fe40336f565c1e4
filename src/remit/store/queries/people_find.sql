-- One person, by name or by id.
SELECT name, id, status, delegate, delegate_until, manager, successor, left_at, external_id, source, created_at, created_by
FROM people WHERE name = %(ref)s OR id = %(ref)s
