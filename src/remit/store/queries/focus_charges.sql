-- What was booked in a month as spend, in the order of its groups and then of the ids: one row for each call, correction,
-- adjustment and transfer. The overage of a call comes with the entry whose price lines cover both.
-- month, until: the month's first day and instant after its last. since: its first instant.
-- grain: 'hour', 'day', 'entry'.
WITH booked AS (
    SELECT e.*
    FROM entries AS e
    WHERE e.debtor_id IS NULL  -- a debt is no spend: what was lent was spent by the call it was lent to
      AND e.held_at >= %(since)s AND e.held_at < %(until)s AND coalesce(e.billing_month, %(month)s::date) = %(month)s::date
    UNION ALL
    -- What is of an earlier month and was found when that was closed, by its own index.
    SELECT e.*
    FROM entries AS e
    WHERE e.debtor_id IS NULL AND e.billing_month = %(month)s::date
      AND e.billing_month <> date_trunc('month', e.held_at AT TIME ZONE 'UTC')::date
)
SELECT e.id AS entry_id, e.kind, e.amount_nanousd + coalesce(o.amount_nanousd, 0) AS amount_nanousd, e.held_at,
       %(month)s::date AS billing_month, e.grant_id, e.grant_path, e.class AS grant_class, e.owner, e.tags, e.block_ids,
       o.id AS overage_id, c.amount_nanousd AS corrected_nanousd, e.vendor, e.deployment,
       coalesce(e.model_served, e.model_requested) AS model, e.tier, e.usage_source, e.price_source, e.price_lines AS lines, e.settlement
FROM booked AS e
LEFT JOIN entries AS o ON o.kind = 'overage' AND o.hold_id = e.hold_id AND e.kind IN ('usage', 'suspense')
LEFT JOIN entries AS c ON c.id = e.corrects
WHERE e.kind <> 'overage'
ORDER BY date_trunc(CASE %(grain)s WHEN 'hour' THEN 'hour' WHEN 'day' THEN 'day' ELSE 'second' END, e.held_at),
         e.grant_id COLLATE "C", e.grant_path COLLATE "C", e.owner COLLATE "C", e.class COLLATE "C", e.tags,
         e.block_ids[1] COLLATE "C", e.vendor COLLATE "C", e.deployment COLLATE "C", coalesce(e.model_served, e.model_requested) COLLATE "C",
         e.tier COLLATE "C", e.usage_source COLLATE "C", e.price_source COLLATE "C", e.kind COLLATE "C",
         e.id COLLATE "C"
