-- The ledger's sum of what was booked in a month as spend, and when the last of it was recorded; see focus_charges.
SELECT coalesce(sum(e.amount_nanousd), 0)::bigint, max(e.recorded_at)
FROM entries AS e
WHERE e.debtor_id IS NULL
  AND (e.held_at >= %(since)s AND e.held_at < %(until)s AND coalesce(e.billing_month, %(month)s::date) = %(month)s::date
       OR e.billing_month = %(month)s::date AND e.billing_month <> date_trunc('month', e.held_at AT TIME ZONE 'UTC')::date)
