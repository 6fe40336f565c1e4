-- Takes one due notification and puts it off; two workers never take the same one.
UPDATE notifications AS n
SET attempts = n.attempts + 1,
    next_attempt_at = %(now)s::timestamptz + make_interval(secs => least(15 * power(2, least(n.attempts, 12)), 3600))
FROM (
    SELECT d.id, g.body -> 'on_exhausted' ->> 'webhook' AS webhook
    FROM notifications AS d
    LEFT JOIN grants AS g ON g.id = d.node_id
    WHERE d.delivered_at IS NULL AND d.next_attempt_at <= %(now)s
    ORDER BY d.next_attempt_at, d.id
    LIMIT 1
    FOR UPDATE OF d SKIP LOCKED
) AS due
WHERE n.id = due.id
RETURNING n.id, n.kind, n.audience, n.node_id, n.dimension, n.threshold, n.period_kind, n.body, n.created_at, n.attempts,
          due.webhook
