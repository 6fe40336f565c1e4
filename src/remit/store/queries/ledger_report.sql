-- Charges by group, largest first. by: names of dimensions or tags, in order; nodes: only what one of these grants was charged for;
-- only: {name: [values]}, where an empty value stands for none.
-- Whole days and hours are read from the sums that were kept, as far as entries are in them (folded), the rest from entries. What a
-- series is, is looked at once for each and not for each of its days: `said` are its values of what is asked by, times left out, and
-- `place` numbers those that say the same.
WITH known AS MATERIALIZED (
    SELECT s.id, is_spend(s.dims ->> 'kind') AS is_call,
           ARRAY (SELECT CASE WHEN d.name NOT IN ('day', 'month', 'billing_month') THEN s.dims ->> d.name END
                  FROM unnest(%(by)s::text[]) WITH ORDINALITY AS d (name, position) ORDER BY d.position) AS said
    FROM rollup_series AS s
    WHERE (%(nodes)s::text[] IS NULL OR s.node_ids && %(nodes)s::text[])
      AND (%(only)s::jsonb IS NULL OR NOT EXISTS (
          SELECT FROM jsonb_each(%(only)s::jsonb) AS o WHERE NOT o.value ? coalesce(s.dims ->> o.key, '')))
), series AS MATERIALIZED (
    SELECT k.id, k.said, k.is_call, dense_rank() OVER (ORDER BY k.said, k.is_call) AS place FROM known AS k
), kept AS (
    SELECT s.place,
           CASE WHEN 'day' = ANY (%(by)s) THEN r.day END AS day,
           CASE WHEN 'month' = ANY (%(by)s) THEN date_trunc('month', r.day::timestamp)::date END AS month,
           CASE WHEN 'billing_month' = ANY (%(by)s) THEN r.billing_month END AS billing_month,
           sum(r.requests) AS requests,
           sum(r.retries) AS retries,
           sum(r.tokens) AS tokens,
           sum(r.input_tokens) AS input_tokens,
           sum(r.cache_read_tokens) AS cache_read_tokens,
           sum(r.cache_write_tokens) AS cache_write_tokens,
           sum(r.output_tokens) AS output_tokens,
           sum(r.amount_nanousd) AS amount_nanousd,
           sum(r.suspense_nanousd) AS suspense_nanousd
    FROM (
        SELECT * FROM rollup_days WHERE day >= %(first_day)s::date AND day < %(end_day)s::date
        UNION ALL
        SELECT (h.hour AT TIME ZONE 'UTC')::date, h.series_id, h.billing_month, h.entries, h.requests, h.retries, h.tokens,
               h.input_tokens, h.cache_read_tokens, h.cache_write_tokens, h.output_tokens, h.amount_nanousd,
               h.suspense_nanousd
        FROM unnest(%(hours_from)s::timestamptz[], %(hours_until)s::timestamptz[]) AS p (since, until)
        JOIN rollup_hours AS h ON h.hour >= p.since AND h.hour < p.until
    ) AS r JOIN series AS s ON s.id = r.series_id
    GROUP BY 1, 2, 3, 4
), told AS (
    SELECT f.* FROM entry_facts AS f
    WHERE f.seq > %(folded)s AND (%(since)s::timestamptz IS NULL OR f.held_at >= %(since)s)
      AND (%(until)s::timestamptz IS NULL OR f.held_at < %(until)s)
    UNION ALL
    SELECT f.*
    FROM unnest(%(rest_from)s::timestamptz[], %(rest_until)s::timestamptz[]) AS p (since, until)
    JOIN entry_facts AS f ON f.held_at >= p.since AND f.held_at < p.until
    WHERE f.seq <= %(folded)s AND %(has_rest)s
), grouped AS (
    SELECT s.said, s.is_call, k.day, k.month, k.billing_month, k.requests, k.retries, k.tokens, k.input_tokens, k.cache_read_tokens, k.cache_write_tokens, k.output_tokens, k.amount_nanousd, k.suspense_nanousd
    FROM kept AS k JOIN (SELECT DISTINCT place, said, is_call FROM series) AS s USING (place)
    UNION ALL
    SELECT ARRAY (SELECT g.dims ->> d.name
                  FROM unnest(%(by)s::text[]) WITH ORDINALITY AS d (name, position) ORDER BY d.position),
           is_spend(f.kind), (f.held_at AT TIME ZONE 'UTC')::date, date_trunc('month', f.held_at AT TIME ZONE 'UTC')::date,
           f.billing_month, f.requests, f.retries, f.tokens, f.input_tokens, f.cache_read_tokens, f.cache_write_tokens, f.output_tokens, f.amount_nanousd, f.suspense_nanousd
    FROM told AS f
    CROSS JOIN dims_of(f.tags, f.class, f.owner, f.kind, f.grant_path, f.vendor, f.deployment, f.model, f.tier) AS g (dims)
    WHERE (%(nodes)s::text[] IS NULL OR f.node_ids && %(nodes)s::text[])
      AND (%(only)s::jsonb IS NULL OR NOT EXISTS (
          SELECT FROM jsonb_each(%(only)s::jsonb) AS o WHERE NOT o.value ? coalesce(g.dims ->> o.key, '')))
)
SELECT ARRAY (
           SELECT CASE d.name WHEN 'day' THEN to_char(g.day, 'YYYY-MM-DD')
                              WHEN 'month' THEN to_char(g.month, 'YYYY-MM')
                              WHEN 'billing_month' THEN to_char(g.billing_month, 'YYYY-MM')
                              ELSE g.said[d.position] END
           FROM unnest(%(by)s::text[]) WITH ORDINALITY AS d (name, position)
           ORDER BY d.position
       ) AS group_values,
       sum(g.requests)::bigint AS requests,
       sum(g.retries)::bigint AS retries,
       sum(g.tokens)::bigint AS tokens,
       sum(g.input_tokens)::bigint AS input_tokens,
       sum(g.cache_read_tokens)::bigint AS cache_read_tokens,
       sum(g.cache_write_tokens)::bigint AS cache_write_tokens,
       sum(g.output_tokens)::bigint AS output_tokens,
       sum(g.amount_nanousd)::bigint AS amount_nanousd,
       sum(g.suspense_nanousd)::bigint AS suspense_nanousd,
       coalesce(sum(g.amount_nanousd) FILTER (WHERE NOT g.is_call), 0)::bigint AS booked_nanousd
FROM grouped AS g
GROUP BY group_values
ORDER BY amount_nanousd DESC, group_values
