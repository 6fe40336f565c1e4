-- What the money limits of these nodes have left in the periods of an instant, overdraft included.
SELECT node_id, period_kind, period_start,
       (target + overdraft_target - posted - overage - held - overdraft_posted - overdraft_held)::bigint
FROM buckets
WHERE node_id = ANY (%(nodes)s) AND dimension = 'usd' AND period_start <= %(now)s AND period_end > %(now)s
