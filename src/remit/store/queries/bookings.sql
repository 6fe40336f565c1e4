-- What was booked in a month and belongs to no call, of these owners or of all, in the order of recording.
SELECT e.kind, e.held_at, coalesce(e.billing_month, date_trunc('month', e.held_at AT TIME ZONE 'UTC')::date) AS billing_month,
       e.grant_path, e.owner, e.vendor, e.amount_nanousd, e.settlement ->> 'cause' AS cause,
       e.settlement ->> 'transfer_id' AS transfer_id, e.settlement ->> 'by' AS booked_by,
       coalesce(e.note, CASE WHEN e.kind = 'transfer' THEN concat_ws(' ', e.settlement ->> 'rule', e.settlement ->> 'method') END) AS note
FROM entries AS e
WHERE e.settlement IS NOT NULL AND (e.kind = 'transfer' OR e.kind = 'adjustment' AND e.debtor_id IS NULL)
  AND coalesce(e.billing_month, date_trunc('month', e.held_at AT TIME ZONE 'UTC')::date) = %(month)s
  AND (%(owners)s::text[] IS NULL OR e.owner = ANY (%(owners)s))
ORDER BY e.seq
