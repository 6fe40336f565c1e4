-- What was written down is gone.
UPDATE expired_months SET done_at = %(now)s WHERE (month, class) = (%(month)s, %(class)s) AND done_at IS NULL
