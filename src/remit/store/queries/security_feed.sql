-- Attempts by grant, kind, holder and words, the most frequent first; not the refusals that are counted by code alone.
-- nodes: only those of these grants.
SELECT s.grant_id, coalesce(g.path, s.grant_id) AS path, g.class, g.owner, s.kind, s.subject, k.name AS key_name, s.tag, s.value,
       sum(s.count)::bigint AS count, min(s.first_seen) AS first_seen, max(s.last_seen) AS last_seen
FROM security_attempts AS s LEFT JOIN grants AS g ON g.id = s.grant_id LEFT JOIN access_keys AS k ON k.id = s.subject
WHERE NOT starts_with(s.kind, 'refused_')
  AND (%(since)s::timestamptz IS NULL OR s.last_seen >= %(since)s)
  AND (%(nodes)s::text[] IS NULL OR s.grant_id = ANY (%(nodes)s))
GROUP BY s.grant_id, g.path, g.class, g.owner, s.kind, s.subject, k.name, s.tag, s.value
ORDER BY count DESC, last_seen DESC, s.grant_id, s.kind, s.subject, s.tag, s.value
LIMIT %(count)s
