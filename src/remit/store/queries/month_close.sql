-- Closes a month; see migration 0030.
SELECT close_month(%(now)s, %(month)s, %(by)s, %(reason)s, %(bills)s::jsonb, %(waived)s::jsonb, %(key)s)
