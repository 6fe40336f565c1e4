-- Everybody, by name.
SELECT name, id, status, delegate, delegate_until, manager, successor, left_at, external_id, source, created_at, created_by
FROM people ORDER BY name
