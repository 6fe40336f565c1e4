-- Writes down what goes from the archive; answers why not, or NULL. See migration 0029.
SELECT expire_month(%(now)s, %(month)s, %(class)s, %(kept_months)s, %(entries)s, %(amount)s, %(digest)s, %(first)s, %(last)s)
