-- Sum of what was charged in a span, without grouping; parameters as of ledger_report.
SELECT coalesce(sum(p.amount_nanousd), 0)::bigint
FROM (
    SELECT d.amount_nanousd, d.series_id, NULL::jsonb AS dims, NULL::text[] AS node_ids
    FROM rollup_days AS d WHERE d.day >= %(first_day)s::date AND d.day < %(end_day)s::date
    UNION ALL
    SELECT h.amount_nanousd, h.series_id, NULL, NULL
    FROM unnest(%(hours_from)s::timestamptz[], %(hours_until)s::timestamptz[]) AS p (since, until)
    JOIN rollup_hours AS h ON h.hour >= p.since AND h.hour < p.until
    UNION ALL
    SELECT f.amount_nanousd, NULL,
           dims_of(f.tags, f.class, f.owner, f.kind, f.grant_path, f.vendor, f.deployment, f.model, f.tier), f.node_ids
    FROM entry_facts AS f
    WHERE f.seq > %(folded)s AND (%(since)s::timestamptz IS NULL OR f.held_at >= %(since)s)
      AND (%(until)s::timestamptz IS NULL OR f.held_at < %(until)s)
    UNION ALL
    SELECT f.amount_nanousd, NULL,
           dims_of(f.tags, f.class, f.owner, f.kind, f.grant_path, f.vendor, f.deployment, f.model, f.tier), f.node_ids
    FROM unnest(%(rest_from)s::timestamptz[], %(rest_until)s::timestamptz[]) AS p (since, until)
    JOIN entry_facts AS f ON f.held_at >= p.since AND f.held_at < p.until
    WHERE f.seq <= %(folded)s AND %(has_rest)s
) AS p
LEFT JOIN rollup_series AS s ON s.id = p.series_id
WHERE (%(nodes)s::text[] IS NULL OR coalesce(p.node_ids, s.node_ids) && %(nodes)s::text[])
  AND (%(only)s::jsonb IS NULL OR NOT EXISTS (
      SELECT FROM jsonb_each(%(only)s::jsonb) AS o
      WHERE NOT o.value ? coalesce(coalesce(p.dims, s.dims) ->> o.key, '')))
