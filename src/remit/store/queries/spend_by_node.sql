-- What calls cost in a span, by grant that was charged for them; parameters as of ledger_report.
SELECT n.id, sum(p.amount_nanousd)::bigint, sum(p.tokens)::bigint, sum(p.requests)::bigint
FROM (
    SELECT s.node_ids, r.amount_nanousd, r.tokens, r.requests
    FROM (
        SELECT series_id, amount_nanousd, tokens, requests FROM rollup_days
        WHERE day >= %(first_day)s::date AND day < %(end_day)s::date
        UNION ALL
        SELECT h.series_id, h.amount_nanousd, h.tokens, h.requests
        FROM unnest(%(hours_from)s::timestamptz[], %(hours_until)s::timestamptz[]) AS p (since, until)
        JOIN rollup_hours AS h ON h.hour >= p.since AND h.hour < p.until
    ) AS r JOIN rollup_series AS s ON s.id = r.series_id
    WHERE is_spend(s.dims ->> 'kind')
    UNION ALL
    SELECT f.node_ids, f.amount_nanousd, f.tokens, f.requests FROM entry_facts AS f
    WHERE f.seq > %(folded)s AND (%(since)s::timestamptz IS NULL OR f.held_at >= %(since)s)
      AND (%(until)s::timestamptz IS NULL OR f.held_at < %(until)s) AND is_spend(f.kind)
    UNION ALL
    SELECT f.node_ids, f.amount_nanousd, f.tokens, f.requests
    FROM unnest(%(rest_from)s::timestamptz[], %(rest_until)s::timestamptz[]) AS p (since, until)
    JOIN entry_facts AS f ON f.held_at >= p.since AND f.held_at < p.until
    WHERE f.seq <= %(folded)s AND %(has_rest)s AND is_spend(f.kind)
) AS p, unnest(p.node_ids) AS n (id)
GROUP BY n.id
