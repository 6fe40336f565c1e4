-- When the last entry of a month was recorded; see focus_charges.
SELECT max(e.recorded_at)
FROM entries AS e
WHERE e.debtor_id IS NULL
  AND (e.held_at >= %(since)s AND e.held_at < %(until)s AND coalesce(e.billing_month, %(month)s::date) = %(month)s::date
       OR e.billing_month = %(month)s::date AND e.billing_month <> date_trunc('month', e.held_at AT TIME ZONE 'UTC')::date)
