-- Which of these names behind a dot may call a function: `a.b` and `(a).b` call b of a where a has no column b. Those that only give a
-- value another type are left out.
SELECT DISTINCT p.proname::text
FROM pg_proc AS p
WHERE p.proname = ANY (%(names)s::text[]::name[])
  AND NOT EXISTS (SELECT FROM pg_cast AS c WHERE c.castfunc = p.oid)
ORDER BY 1
