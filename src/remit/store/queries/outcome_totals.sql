-- All that was charged in a report's window by group, as outcome_spend groups it: read with it, from the same entries.
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
       sum(e.amount_nanousd)::bigint AS amount_nanousd,
       coalesce(sum(e.amount_nanousd) FILTER (
           WHERE e.kind = 'suspense' AND NOT EXISTS (SELECT FROM entries AS c WHERE c.corrects = e.id)), 0)::bigint
           AS suspense_nanousd
FROM entries AS e
WHERE (is_spend(e.kind) OR e.kind IN ('transfer', 'adjustment') AND e.debtor_id IS NULL)
  AND (%(since)s::timestamptz IS NULL OR e.held_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR e.held_at < %(until)s)
  AND (%(nodes)s::text[] IS NULL OR e.grant_id = ANY (ARRAY (
      SELECT g.id FROM grants AS g JOIN grants AS n ON n.id = ANY (%(nodes)s)
                                                   AND (g.id = n.id OR starts_with(g.path, n.path || '/')))))
GROUP BY group_values
