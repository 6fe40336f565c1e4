-- How much a comparison proposes to book on each grant.
SELECT e ->> 'grant_id', sum((e ->> 'amount_nanousd')::bigint)::bigint
FROM reconciliations AS r, jsonb_array_elements(r.entries) AS e
WHERE r.id = %(id)s
GROUP BY 1
