-- How grants were used: periods that were not over at an instant, of limits (no rates), without what repaid debts; the last call
-- of each by its index; and days on which requests of the other class were reported.
SELECT g.id,
       (SELECT jsonb_agg(jsonb_build_object('dimension', b.dimension, 'period', b.period_kind, 'start', b.period_start,
                                            'used', b.posted + b.overage + b.overdraft_posted - b.repaid))
        FROM buckets AS b
        WHERE b.node_id = g.id AND b.period_kind NOT IN ('minute', 'inflight') AND b.period_end > %(since)s) AS periods,
       coalesce((SELECT e.held_at FROM entries AS e WHERE e.grant_id = g.id AND e.settlement IS NULL
                 ORDER BY e.held_at DESC LIMIT 1),
                (SELECT max(d.last_held_at) FROM dropped_sums AS d WHERE d.grant_id = g.id)) AS last_spent_at,
       (SELECT count(*) FROM notifications AS n
        WHERE (n.kind, n.node_id) = ('class_mismatch', g.id) AND n.period_start >= %(mismatched_since)s) AS mismatches,
       EXISTS (SELECT FROM entries AS e
               WHERE e.grant_id = g.id AND e.class = 'experimentation' AND e.tags ->> 'environment' IN ('production', 'prod'))
       OR EXISTS (SELECT FROM dropped_sums AS d WHERE d.grant_id = g.id AND d.experiments_in_production > 0)
           AS has_production_entries
FROM grants AS g
WHERE g.status IN ('active', 'suspended')
