-- The newest notifications, or the newest undelivered ones; oldest first.
SELECT * FROM (
    SELECT n.id, n.kind, n.audience, n.node_id, g.path, n.dimension, n.threshold, n.body, n.created_at, n.delivered_at,
           n.attempts, n.next_attempt_at
    FROM notifications AS n
    LEFT JOIN grants AS g ON g.id = n.node_id
    WHERE n.delivered_at IS NULL OR NOT %(undelivered)s::boolean
    ORDER BY n.id DESC
    LIMIT %(count)s
) AS newest
ORDER BY id
