-- How every bucket stands, with its grant: used is what is posted, overage and overdraft included.
SELECT coalesce(g.path, b.node_id) AS path, g.class, b.dimension, b.period_kind, b.target, b.overdraft_limit,
       (b.posted + b.overage + b.overdraft_posted)::bigint AS used,
       (b.held + b.overdraft_held)::bigint AS held,
       b.overdraft_posted
FROM buckets AS b LEFT JOIN grants AS g ON g.id = b.node_id
ORDER BY path, b.dimension, b.period_kind, b.period_start
