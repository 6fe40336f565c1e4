-- What is posted in the buckets of grants whose period ended after an instant, rates left out, without what repaid debts; and what is
-- held in them, beside what the open holds say.
WITH open_lines AS (
    SELECT l.node_id, l.dimension, l.period_kind, l.period_start, sum(l.amount) AS held, sum(l.overdraft) AS overdraft
    FROM holds AS h, unnest(h.lines) AS l
    WHERE h.state = 'open'
    GROUP BY l.node_id, l.dimension, l.period_kind, l.period_start
)
SELECT b.node_id, b.dimension, b.period_kind, b.period_start, b.period_end,
       (b.posted + b.overage + b.overdraft_posted - b.repaid)::bigint AS posted, b.held + b.overdraft_held AS held,
       (coalesce(o.held, 0) + coalesce(o.overdraft, 0))::bigint AS open_held
FROM buckets AS b JOIN grants AS g ON g.id = b.node_id
LEFT JOIN open_lines AS o USING (node_id, dimension, period_kind, period_start)
WHERE b.period_kind NOT IN ('minute', 'inflight') AND b.period_end > %(ended_after)s
ORDER BY b.node_id, b.dimension, b.period_kind, b.period_start
