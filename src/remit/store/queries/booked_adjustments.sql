-- What was booked for a vendor's month besides its calls, by who bears it and why.
SELECT e.grant_id, e.settlement ->> 'cause' AS cause, sum(e.amount_nanousd)::bigint AS amount_nanousd
FROM entries AS e
WHERE e.vendor = %(vendor)s AND e.kind = 'adjustment' AND e.debtor_id IS NULL
  AND e.held_at >= %(since)s AND e.held_at < %(until)s
GROUP BY 1, 2
ORDER BY 1, 2
