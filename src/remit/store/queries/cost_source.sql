-- Who was charged for what meets a rule's conditions in a month: grant, tags, what of it meets them, and all of it.
SELECT c.grant_id, c.dims - '{class,owner,kind,grant,vendor,deployment,model,tier}'::text[] AS tags,
       sum(c.amount_nanousd) FILTER (WHERE meets(c.dims, %(source)s))::bigint AS matched, sum(c.amount_nanousd)::bigint AS in_all
FROM charged_in(%(month)s) AS c
GROUP BY 1, 2
HAVING bool_or(meets(c.dims, %(source)s))
