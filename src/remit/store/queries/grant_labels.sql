-- The tags that grants fix: their own and those of the grants above, which none of them can change.
SELECT g.id, coalesce(jsonb_object_agg(s.key, s.value) FILTER (WHERE s.value IS NOT NULL), '{}')
FROM grants AS g
JOIN grants AS a ON g.path = a.path OR starts_with(g.path, a.path || '/')
CROSS JOIN jsonb_each_text(a.body -> 'scope') AS s
WHERE g.id = ANY (%(ids)s)
GROUP BY g.id
