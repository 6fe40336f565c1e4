-- Buckets whose period holds an instant, of the given grants or of all. What is posted includes overage.
SELECT b.node_id, b.dimension, b.period_kind, b.period_start, (b.posted + b.overage)::bigint AS posted, b.held,
       b.overdraft_limit, b.overdraft_posted, b.overdraft_held
FROM buckets AS b
WHERE b.period_start <= %(now)s AND b.period_end > %(now)s
  AND (%(node_ids)s::text[] IS NULL OR b.node_id = ANY (%(node_ids)s))
ORDER BY b.node_id, b.dimension, b.period_kind, b.period_start
