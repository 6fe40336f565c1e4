-- Whose rights a session has: its login, the readers it is a member of, and what it may do beyond that. It is the login that counts and
-- not the role: a session can go back to its login at any time.
WITH here AS (
    SELECT * FROM pg_shdepend
    WHERE refclassid = 'pg_authid'::regclass
      AND dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
)
SELECT me.rolname AS login,
       ARRAY (SELECT substr(r.rolname, 7) FROM pg_roles AS r
              WHERE r.rolname IN ('remit_engineering', 'remit_finance', 'remit_security') AND pg_has_role(me.oid, r.oid, 'USAGE')
              ORDER BY 1) AS readers,
       ARRAY (SELECT 'is a superuser' WHERE me.rolsuper
              UNION ALL SELECT 'may make roles' WHERE me.rolcreaterole
              UNION ALL SELECT 'may make databases' WHERE me.rolcreatedb
              UNION ALL SELECT 'may replicate the database' WHERE me.rolreplication
              UNION ALL SELECT 'passes by row security' WHERE me.rolbypassrls
              UNION ALL SELECT format('is a member of `%s`', r.rolname) FROM pg_roles AS r
                        WHERE r.oid <> me.oid AND pg_has_role(me.oid, r.oid, 'MEMBER')
                          AND r.rolname NOT IN ('remit_engineering', 'remit_finance', 'remit_security')
              UNION ALL SELECT 'may make others members of a role' FROM pg_auth_members AS m
                        WHERE m.member = me.oid AND m.admin_option
              UNION ALL SELECT 'owns something' WHERE EXISTS (SELECT FROM here WHERE here.refobjid = me.oid AND here.deptype = 'o')
              -- All it needs comes with the membership, but for a right to connect to the database.
              UNION ALL SELECT 'has rights of its own' WHERE EXISTS (
                        SELECT FROM here
                        WHERE here.refobjid = me.oid AND here.deptype <> 'o'
                          AND here.classid NOT IN ('pg_database'::regclass, 'pg_auth_members'::regclass))
              UNION ALL SELECT 'may make schemas' WHERE has_database_privilege(me.oid, current_database(), 'CREATE')
              UNION ALL SELECT format('may make objects in `%s`', n.nspname) FROM pg_namespace AS n
                        WHERE n.nspname !~ '^pg_(toast_)?temp_' AND has_schema_privilege(me.oid, n.oid, 'CREATE')) AS excess
FROM pg_roles AS me
WHERE me.rolname = session_user
