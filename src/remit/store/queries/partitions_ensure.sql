-- Makes the partitions of months that have none; see migration 0029.
SELECT ensure_partitions(%(now)s, %(months)s)
