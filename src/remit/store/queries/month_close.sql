-- Closes a month; see migrations 0030 and 0035.
SELECT close_month(%(now)s, %(month)s, %(by)s, %(reason)s, %(bills)s::jsonb, %(waived)s::jsonb, %(key)s)
