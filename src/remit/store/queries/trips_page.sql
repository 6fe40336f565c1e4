-- Trips after a number, oldest first. nodes: only those of these grants; active: only those in effect at now.
SELECT t.seq, t.id, t.grant_id, g.path, g.owner, t.scope, t.subject, t.rule, t.measured, t.allowed, t.calls, t.tags, t.mode,
       t.tripped_at, t.until, e.ended_at, e.ended_by, e.reason
FROM trips AS t JOIN grants AS g ON g.id = t.grant_id LEFT JOIN trip_ends AS e ON e.trip_id = t.id
WHERE t.seq > %(after)s AND (%(nodes)s::text[] IS NULL OR t.grant_id = ANY (%(nodes)s))
  AND (NOT %(active)s OR (t.until > %(now)s AND e.trip_id IS NULL))
  AND (%(id)s::text IS NULL OR t.id = %(id)s)
ORDER BY t.seq
LIMIT %(count)s
