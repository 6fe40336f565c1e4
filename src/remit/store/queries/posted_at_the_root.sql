-- What is posted for every limit in money of grants without a parent, with the period it is for. Everything that was spent below
-- such a grant in that period went through its bucket; what repaid a debt of an earlier period was spent then.
SELECT g.path || ' ' || b.period_kind || ' ' || b.period_start AS subject, g.id, b.period_start, b.period_end,
       (b.posted - b.repaid + b.overage + b.overdraft_posted)::bigint AS posted
FROM buckets AS b JOIN grants AS g ON g.id = b.node_id
WHERE g.parent_id IS NULL AND b.dimension = 'usd' AND b.period_kind NOT IN ('minute', 'inflight')
ORDER BY 1
