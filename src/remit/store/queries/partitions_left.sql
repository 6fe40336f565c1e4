-- Months that are no longer here, and how many of the entries they had are not: what belongs to no call stayed. What had a number beyond
-- summed_seq came later, and is here.
SELECT p.name, greatest(p.begins, '0001-01-02 00:00+00'::timestamptz) AS begins, p.ends, p.summed_seq, p.dropped_at,
       p.entries - (SELECT count(*) FROM entries AS e WHERE e.held_at >= p.begins AND e.held_at < p.ends AND e.seq <= p.summed_seq) AS gone
FROM ledger_partitions AS p WHERE p.dropped_at IS NOT NULL
ORDER BY p.begins
