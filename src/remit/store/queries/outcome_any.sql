-- Whether something about a grant, what is below it or what is above it was asserted to have happened in a span.
SELECT EXISTS (
    SELECT FROM grants AS n JOIN grants AS g ON g.id = n.id OR starts_with(g.path, n.path || '/') OR starts_with(n.path, g.path || '/')
    JOIN outcomes AS o ON o.grant_id = g.id JOIN outcome_events AS v ON v.outcome_id = o.id
    WHERE n.id = %(node)s AND v.occurred_at >= %(since)s AND v.occurred_at < %(until)s)
