-- The roles of the schema that the current user may not work as, with the statement that changes it. Since PostgreSQL 16
-- whoever creates a role gets neither its rights nor SET ROLE to it, but may grant itself both.
SELECT r.rolname, format('GRANT %I TO %I WITH INHERIT TRUE, SET TRUE', r.rolname, current_user)
FROM pg_roles AS r
WHERE r.rolname IN ('remit_owner', 'remit_authority', 'remit_gateway', 'remit_reader',
                    'remit_engineering', 'remit_finance', 'remit_security')
  AND NOT (pg_has_role(r.oid, 'SET') AND pg_has_role(r.oid, 'USAGE'))
ORDER BY r.rolname = 'remit_owner' DESC, r.rolname
