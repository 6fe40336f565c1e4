-- I5: every ended hold has exactly the entries its state asks for; every open hold has none. Those of holds that were taken in months
-- which have left were counted when they were archived.
SELECT h.id, h.state, count(e.id) FILTER (WHERE e.kind IN ('usage', 'suspense')) AS settlements
FROM holds AS h
LEFT JOIN entries AS e ON e.hold_id = h.id
WHERE NOT EXISTS (SELECT FROM ledger_partitions AS p
                  WHERE p.dropped_at IS NOT NULL AND h.taken_at >= p.begins AND h.taken_at < p.ends)
GROUP BY h.id, h.state
HAVING count(e.id) FILTER (WHERE e.kind IN ('usage', 'suspense'))
       <> CASE WHEN h.state IN ('settled', 'expired') THEN 1 ELSE 0 END
ORDER BY h.id
