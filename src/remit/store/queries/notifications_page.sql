-- Notifications after an id, oldest first. nodes: only those about these grants.
SELECT n.id, n.kind, n.audience, n.node_id, n.dimension, n.threshold, n.period_kind, n.body, n.created_at,
       n.delivered_at
FROM notifications AS n
WHERE n.id > %(after)s AND (%(nodes)s::text[] IS NULL OR n.node_id = ANY (%(nodes)s))
ORDER BY n.id
LIMIT %(count)s
