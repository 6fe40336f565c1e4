-- What calls to a vendor in a month came to, summed by all that distinguishes them: a row with their numbers, and one for each price
-- line with what was used and booked at that price; where there are none, what was used, without a price (a call that a statement
-- settled). A call that was in suspense and is corrected is one of its correction's kind, at what it cost in the end, of the model and
-- tier that the correction names. midnight_minutes: how close to midnight a call is said to be over it.
WITH e AS MATERIALIZED (
    SELECT (e.held_at AT TIME ZONE 'UTC')::date AS day, e.deployment,
           coalesce(c.model_served, e.model_served, e.model_requested) AS model, coalesce(c.tier, e.tier) AS tier,
           coalesce(c.kind, e.kind) AS kind, e.grant_id,
           CASE WHEN c.id IS NULL THEN e.price_source ELSE c.price_source END AS price_source,
           CASE WHEN c.id IS NULL THEN e.usage_source ELSE c.usage_source END AS usage_source,
           CASE WHEN c.id IS NULL THEN e.note ELSE c.note END AS note,
           coalesce(e.attempt > 1, false) AS is_later_attempt,
           CASE WHEN (e.recorded_at AT TIME ZONE 'UTC')::date > (e.held_at AT TIME ZONE 'UTC')::date
                THEN (e.recorded_at AT TIME ZONE 'UTC')::date END AS later_day,
           e.held_at + make_interval(mins => %(midnight_minutes)s)
               >= date_trunc('day', e.held_at, 'UTC') + interval '1 day' AS is_near_midnight,
           e.requests, e.amount_nanousd + coalesce(c.amount_nanousd, 0) AS amount_nanousd,
           CASE WHEN c.id IS NULL THEN e.price_lines ELSE c.price_lines END AS price_lines,
           CASE WHEN c.id IS NULL THEN e.usage ELSE c.usage END AS usage
    FROM entries AS e
    LEFT JOIN entries AS c ON e.kind = 'suspense' AND c.corrects = e.id AND c.held_at = e.held_at
                              AND c.held_at >= %(since)s AND c.held_at < %(until)s
    WHERE e.vendor = %(vendor)s AND is_spend(e.kind) AND e.kind <> 'correction'
      AND e.held_at >= %(since)s AND e.held_at < %(until)s
), facts AS (
    SELECT e.day, e.deployment, e.model, e.tier, e.kind, e.grant_id, e.price_source, e.usage_source, e.note,
           e.kind = 'correction' AND p.price_lines IS NULL AND p.usage IS NULL AS is_amount_only,
           e.is_later_attempt, e.later_day, coalesce(e.is_near_midnight AND e.later_day = e.day + 1, false) AS midnight,
           e.requests, e.amount_nanousd, p.price_lines, p.usage
    FROM e
    CROSS JOIN LATERAL (SELECT CASE jsonb_typeof(e.price_lines) WHEN 'array' THEN e.price_lines END AS price_lines,
                               CASE jsonb_typeof(e.usage) WHEN 'object' THEN e.usage END AS usage) AS p
)
SELECT day, deployment, model, tier, kind, grant_id, price_source, usage_source, note, is_amount_only, is_later_attempt, later_day,
       midnight, sum(requests)::bigint AS requests, sum(amount_nanousd)::bigint AS amount_nanousd, NULL::text AS meter, NULL::bigint AS price,
       NULL::bigint AS units, NULL::bigint AS line_nanousd
FROM facts
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13
UNION ALL
SELECT f.day, f.deployment, f.model, f.tier, f.kind, f.grant_id, f.price_source, f.usage_source, f.note, f.is_amount_only,
       f.is_later_attempt, f.later_day, f.midnight, 0, 0, l.kind, l.price_nanousd_per_million, sum(l.units)::bigint,
       sum(l.amount_nanousd)::bigint
FROM facts AS f
CROSS JOIN LATERAL jsonb_to_recordset(f.price_lines)
    AS l (kind text, units bigint, price_nanousd_per_million bigint, amount_nanousd bigint)
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, l.kind, l.price_nanousd_per_million
UNION ALL
SELECT f.day, f.deployment, f.model, f.tier, f.kind, f.grant_id, f.price_source, f.usage_source, f.note, f.is_amount_only,
       f.is_later_attempt, f.later_day, f.midnight, 0, 0, replace(u.key, '_tokens', ''), NULL, sum(u.value::bigint)::bigint, 0
FROM facts AS f CROSS JOIN LATERAL jsonb_each_text(f.usage) AS u
WHERE f.price_lines IS NULL AND f.kind <> 'overage' AND u.value::bigint <> 0
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, u.key
ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, meter NULLS FIRST, price
