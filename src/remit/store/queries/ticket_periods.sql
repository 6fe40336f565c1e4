-- How much of its limits a grant used, by period, of those that were not over at an instant; without what repaid debts.
SELECT b.dimension, b.period_kind, b.period_start, (b.posted + b.overage + b.overdraft_posted - b.repaid)::bigint AS used
FROM buckets AS b
WHERE b.node_id = %(grant_id)s AND b.period_kind NOT IN ('minute', 'inflight') AND b.period_end > %(since)s
