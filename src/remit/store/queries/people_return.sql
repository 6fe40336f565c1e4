-- A person comes back: without the tokens, roles and grants they had.
UPDATE people SET status = 'active', left_at = NULL, successor = NULL WHERE name = %(name)s
