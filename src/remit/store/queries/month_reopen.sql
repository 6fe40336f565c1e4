-- Opens the month that was closed last again; see migration 0030.
SELECT reopen_month(%(now)s, %(month)s, %(by)s, %(reason)s, %(key)s)
