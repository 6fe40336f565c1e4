-- A person leaves; who left before left then.
UPDATE people
SET status = 'left', left_at = coalesce(left_at, %(now)s), successor = %(successor)s,
    delegate = NULL, delegate_until = NULL
WHERE name = %(name)s
