-- Holds of a vendor's month whose cost is not known.
SELECT e.hold_id, (e.held_at AT TIME ZONE 'UTC')::date AS day, e.deployment, coalesce(e.model_served, e.model_requested) AS model, e.tier,
       e.amount_nanousd, e.tokens, e.vendor_request_id
FROM entries AS e
WHERE e.vendor = %(vendor)s AND e.kind = 'suspense' AND e.held_at >= %(since)s AND e.held_at < %(until)s
  AND NOT EXISTS (SELECT FROM entries AS c WHERE c.corrects = e.id)
ORDER BY e.seq
