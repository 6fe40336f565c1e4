-- Partitions that are still here and whose time is up, the oldest first.
SELECT name FROM ledger_partitions
WHERE dropped_at IS NULL AND ends + make_interval(days => %(hot_days)s) <= %(now)s
ORDER BY begins
