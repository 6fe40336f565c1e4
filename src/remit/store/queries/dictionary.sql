-- Every view that readers have, with its columns in order, what they mean, and who reads it.
SELECT c.relname AS view, obj_description(c.oid, 'pg_class') AS about, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
       col_description(c.oid, a.attnum) AS meaning,
       ARRAY (SELECT r.name FROM unnest('{engineering,finance,security}'::text[]) AS r (name)
              WHERE has_table_privilege('remit_' || r.name, c.oid, 'SELECT')) AS readers
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = (SELECT n.oid FROM pg_namespace AS n WHERE n.nspname = 'chargeback') AND c.relkind = 'v'
ORDER BY c.relname, a.attnum
