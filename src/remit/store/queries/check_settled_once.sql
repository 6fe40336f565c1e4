-- I5: every ended hold has exactly the entries its state asks for; every open hold has none.
SELECT h.id, h.state, count(e.id) FILTER (WHERE e.kind IN ('usage', 'suspense')) AS settlements
FROM holds AS h
LEFT JOIN entries AS e ON e.hold_id = h.id
GROUP BY h.id, h.state
HAVING count(e.id) FILTER (WHERE e.kind IN ('usage', 'suspense'))
       <> CASE WHEN h.state IN ('settled', 'expired') THEN 1 ELSE 0 END
ORDER BY h.id
