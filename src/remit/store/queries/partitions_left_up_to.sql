-- The highest number of an entry that left the database with its month.
SELECT max(last_seq) FROM ledger_partitions WHERE dropped_at IS NOT NULL
