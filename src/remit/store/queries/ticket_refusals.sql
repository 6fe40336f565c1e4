-- What a grant's callers were refused in the last 30 days: each refusal counts, by code, the most frequent first.
SELECT substr(s.kind, 9) AS code, sum(s.count)::bigint AS count, max(s.last_seen) AS last_seen
FROM security_attempts AS s
WHERE s.grant_id = %(grant_id)s AND s.day >= (%(now)s::timestamptz AT TIME ZONE 'UTC')::date - 30
  AND starts_with(s.kind, 'refused_')
GROUP BY s.kind
ORDER BY count DESC, s.kind
