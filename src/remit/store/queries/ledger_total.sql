-- Sum of what was charged between two instants. nodes: only entries that one of these grants was charged for.
SELECT coalesce(sum(e.amount_nanousd), 0)::bigint
FROM entries AS e
WHERE is_charged(e.kind, e.debtor_id)
  AND (%(since)s::timestamptz IS NULL OR e.held_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR e.held_at < %(until)s)
  AND (%(nodes)s::text[] IS NULL OR e.node_ids && %(nodes)s::text[])
