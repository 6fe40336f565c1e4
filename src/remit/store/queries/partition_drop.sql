-- Takes a partition out of the database; answers why not, or NULL.
SELECT drop_partition(%(name)s, %(now)s, %(hot_days)s)
