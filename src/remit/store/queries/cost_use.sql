-- What others used in a month, by grant and the value of a tag (none: by grant alone); what a rule divides is not among it.
SELECT c.grant_id, c.dims ->> %(by)s::text AS value,
       sum(CASE %(measure)s WHEN 'amount' THEN c.amount_nanousd WHEN 'tokens' THEN c.tokens ELSE c.requests END)::bigint AS used
FROM charged_in(%(month)s) AS c
WHERE meets(c.dims, %(only)s) AND NOT meets(c.dims, %(source)s)
GROUP BY 1, 2
