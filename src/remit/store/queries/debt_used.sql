-- What is used of a limit in money, its overdraft left out.
SELECT (posted + overage + held)::bigint FROM buckets
WHERE (node_id, dimension, period_kind, period_start) = (%(node)s, 'usd', %(kind)s, %(starts)s)
