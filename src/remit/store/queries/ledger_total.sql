-- Sum of spend between two instants.
SELECT coalesce(sum(e.amount_nanousd), 0)::bigint
FROM entries AS e
WHERE is_spend(e.kind)
  AND (%(since)s::timestamptz IS NULL OR e.held_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR e.held_at < %(until)s)
