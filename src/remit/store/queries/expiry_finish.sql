-- What was written down is gone.
SELECT finish_expiry(%(now)s, %(month)s, %(class)s)
