-- Notifications to deliver now; locked so that two workers never deliver the same one at once.
SELECT n.id, n.kind, n.audience, n.node_id, n.dimension, n.threshold, n.period_kind, n.body, n.created_at, n.attempts,
       g.body -> 'on_exhausted' ->> 'webhook' AS webhook
FROM notifications AS n
LEFT JOIN grants AS g ON g.id = n.node_id
WHERE n.delivered_at IS NULL AND n.next_attempt_at <= %(now)s
ORDER BY n.id
LIMIT %(count)s
FOR UPDATE OF n SKIP LOCKED
