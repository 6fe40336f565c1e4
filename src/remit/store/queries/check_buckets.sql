-- I7: for every bucket, posted equals the ledger and held equals the open holds. Rates carry no money and are left out. What the
-- ledger says is what was spent, and what debts of earlier periods were repaid out of this one.
WITH open_lines AS (
    SELECT l.node_id, l.dimension, l.period_kind, l.period_start, sum(l.amount) AS held, sum(l.overdraft) AS overdraft
    FROM holds AS h, unnest(h.lines) AS l
    WHERE h.state = 'open'
    GROUP BY l.node_id, l.dimension, l.period_kind, l.period_start
), repaid AS (
    SELECT b.node_id, b.dimension, b.period_kind, b.period_start, -sum(e.amount_nanousd) AS amount
    FROM entries AS e JOIN buckets AS b ON (b.node_id, b.period_kind) = (e.debtor_id, e.debt_period)
                                           AND b.dimension = 'usd' AND e.held_at >= b.period_start AND e.held_at < b.period_end
    WHERE e.debtor_id IS NOT NULL AND e.settlement IS NOT NULL AND e.kind = 'repayment'
    GROUP BY b.node_id, b.dimension, b.period_kind, b.period_start
)
SELECT b.node_id || ' ' || b.dimension || ' ' || b.period_kind || ' ' || b.period_start AS subject,
       (ledger_sum(b.node_id, b.dimension, b.period_start, b.period_end) + coalesce(r.amount, 0))::bigint AS ledger,
       (b.posted + b.overage + b.overdraft_posted)::bigint AS posted,
       coalesce(o.held, 0)::bigint AS open_held,
       b.held::bigint AS held,
       coalesce(o.overdraft, 0)::bigint AS open_overdraft,
       b.overdraft_held::bigint AS overdraft_held,
       (b.posted + b.held <= b.limit_amount
        AND b.overdraft_posted + b.overdraft_held <= b.overdraft_limit) AS within_cap,
       coalesce(r.amount, 0)::bigint AS ledger_repaid,
       b.repaid
FROM buckets AS b
LEFT JOIN open_lines AS o USING (node_id, dimension, period_kind, period_start)
LEFT JOIN repaid AS r USING (node_id, dimension, period_kind, period_start)
WHERE b.period_kind NOT IN ('minute', 'inflight')
ORDER BY 1
