-- The usd buckets of a grant: those that hold an instant first, then earlier ones, newest first.
SELECT b.period_kind, b.period_start, b.period_end, b.target,
       (b.posted + b.overage + b.overdraft_posted)::bigint AS posted, (b.held + b.overdraft_held)::bigint AS held
FROM buckets AS b
WHERE b.node_id = %(grant_id)s AND b.dimension = 'usd' AND b.period_kind NOT IN ('minute', 'inflight')
  AND b.period_start <= %(now)s
ORDER BY b.period_end > %(now)s DESC, b.period_start DESC, b.period_kind
LIMIT 12
