-- Makes due what a channel has not been given yet. Thirty days back at most, so that no round reads all of history.
INSERT INTO deliveries (notification_id, channel, ticket_id, next_attempt_at, created_at)
SELECT n.id, c.name, n.ticket_id, %(now)s, %(now)s
FROM channels AS c
JOIN notifications AS n ON n.created_at >= greatest(c.since, %(now)s::timestamptz - interval '30 days')
WHERE c.name = %(channel)s
  AND (cardinality(%(kinds)s::text[]) = 0 OR n.kind = ANY (%(kinds)s::text[]))
  AND (cardinality(%(audiences)s::text[]) = 0 OR n.audience = ANY (%(audiences)s::text[]))
  AND NOT EXISTS (SELECT FROM deliveries AS d WHERE d.notification_id = n.id AND d.channel = c.name)
ORDER BY n.id
LIMIT 500
ON CONFLICT (notification_id, channel) DO NOTHING
