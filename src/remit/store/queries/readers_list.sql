-- Logins that read the ledger as one of its readers, and whether they can be used. name: only this one.
SELECT l.rolname AS login, replace(g.rolname, 'remit_', '') AS reader, l.rolcanlogin AS is_active
FROM pg_auth_members AS m JOIN pg_roles AS l ON l.oid = m.member JOIN pg_roles AS g ON g.oid = m.roleid
WHERE g.rolname IN ('remit_engineering', 'remit_finance', 'remit_security')
  AND starts_with(l.rolname, replace(g.rolname, 'remit_', '') || '_')
  AND (%(login)s::text IS NULL OR l.rolname = %(login)s)
ORDER BY l.rolname
