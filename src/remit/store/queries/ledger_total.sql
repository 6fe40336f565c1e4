-- Sum of what was charged in a span, without grouping; parameters as of ledger_report.
WITH series AS MATERIALIZED (
    SELECT s.id FROM rollup_series AS s
    WHERE (%(nodes)s::text[] IS NULL OR s.node_ids && %(nodes)s::text[])
      AND (%(only)s::jsonb IS NULL OR NOT EXISTS (
          SELECT FROM jsonb_each(%(only)s::jsonb) AS o WHERE NOT o.value ? coalesce(s.dims ->> o.key, '')))
), told AS (
    SELECT f.* FROM entry_facts AS f
    WHERE f.seq > %(folded)s AND (%(since)s::timestamptz IS NULL OR f.held_at >= %(since)s)
      AND (%(until)s::timestamptz IS NULL OR f.held_at < %(until)s)
    UNION ALL
    SELECT f.*
    FROM unnest(%(rest_from)s::timestamptz[], %(rest_until)s::timestamptz[]) AS p (since, until)
    JOIN entry_facts AS f ON f.held_at >= p.since AND f.held_at < p.until
    WHERE f.seq <= %(folded)s AND %(has_rest)s
)
SELECT coalesce(sum(p.amount_nanousd), 0)::bigint
FROM (
    SELECT d.amount_nanousd
    FROM rollup_days AS d JOIN series AS s ON s.id = d.series_id
    WHERE d.day >= %(first_day)s::date AND d.day < %(end_day)s::date
    UNION ALL
    SELECT h.amount_nanousd
    FROM unnest(%(hours_from)s::timestamptz[], %(hours_until)s::timestamptz[]) AS p (since, until)
    JOIN rollup_hours AS h ON h.hour >= p.since AND h.hour < p.until
    JOIN series AS s ON s.id = h.series_id
    UNION ALL
    SELECT f.amount_nanousd
    FROM told AS f
    CROSS JOIN dims_of(f.tags, f.class, f.owner, f.kind, f.grant_path, f.vendor, f.deployment, f.model, f.tier) AS g (dims)
    WHERE (%(nodes)s::text[] IS NULL OR f.node_ids && %(nodes)s::text[])
      AND (%(only)s::jsonb IS NULL OR NOT EXISTS (
          SELECT FROM jsonb_each(%(only)s::jsonb) AS o WHERE NOT o.value ? coalesce(g.dims ->> o.key, '')))
) AS p
