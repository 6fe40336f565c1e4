-- Charges by group. by: names of dimensions or tags, in order.
-- nodes: only entries that one of these grants was charged for.
SELECT ARRAY (
           SELECT CASE d.name
                      WHEN 'class' THEN e.class
                      WHEN 'model' THEN coalesce(e.model_served, e.model_requested)
                      WHEN 'vendor' THEN e.vendor
                      WHEN 'owner' THEN e.owner
                      WHEN 'grant' THEN e.grant_path
                      WHEN 'kind' THEN e.kind
                      WHEN 'day' THEN to_char(e.held_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
                      ELSE e.tags ->> d.name
                  END
           FROM unnest(%(by)s::text[]) WITH ORDINALITY AS d (name, position)
           ORDER BY d.position
       ) AS group_values,
       sum(e.requests)::bigint AS requests,
       sum(e.tokens)::bigint AS tokens,
       sum(e.amount_nanousd)::bigint AS amount_nanousd,
       coalesce(sum(e.amount_nanousd) FILTER (
           WHERE e.kind = 'suspense' AND NOT EXISTS (SELECT FROM entries AS c WHERE c.corrects = e.id)), 0)::bigint
           AS suspense_nanousd,
       coalesce(sum(e.amount_nanousd) FILTER (WHERE NOT is_spend(e.kind)), 0)::bigint AS booked_nanousd
FROM entries AS e
WHERE is_charged(e.kind, e.debtor_id)
  AND (%(since)s::timestamptz IS NULL OR e.held_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR e.held_at < %(until)s)
  AND (%(nodes)s::text[] IS NULL OR e.node_ids && %(nodes)s::text[])
GROUP BY group_values
ORDER BY amount_nanousd DESC, group_values
