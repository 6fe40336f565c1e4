-- Sums a partition so that it can go; answers why not, or NULL.
SELECT sum_partition(%(name)s, %(now)s, %(hot_days)s)
