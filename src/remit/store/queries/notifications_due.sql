-- Notifications to deliver now; locked so that two workers never deliver the same one at once.
SELECT id, kind, audience, node_id, dimension, threshold, period_kind, body, created_at, attempts
FROM notifications
WHERE delivered_at IS NULL AND next_attempt_at <= %(now)s
ORDER BY id
LIMIT %(count)s
FOR UPDATE SKIP LOCKED
