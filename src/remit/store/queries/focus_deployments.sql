-- Every vendor and deployment that something was booked for in a month; see focus_charges.
SELECT DISTINCT e.vendor, e.deployment
FROM entries AS e
WHERE e.debtor_id IS NULL
  AND (e.held_at >= %(since)s AND e.held_at < %(until)s AND coalesce(e.billing_month, %(month)s::date) = %(month)s::date
       OR e.billing_month = %(month)s::date AND e.billing_month <> date_trunc('month', e.held_at AT TIME ZONE 'UTC')::date)
