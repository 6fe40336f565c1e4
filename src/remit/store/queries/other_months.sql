-- What a vendor's month has to do with others, as of one instant. (what was used before and is booked in it, by
-- grant; what was used in it and is booked later; what earlier closed months were billed and not owed)
WITH moved AS MATERIALIZED (
    SELECT s.grant_id, d.billing_month, d.amount_nanousd
    FROM rollup_days AS d JOIN rollup_series AS s ON s.id = d.series_id
    WHERE s.dims ->> 'vendor' = %(vendor)s AND s.dims ->> 'kind' <> 'transfer'
      AND ((d.billing_month = %(month)s AND d.day < %(month)s)
           OR (d.billing_month > %(month)s AND d.day >= %(month)s AND d.day < %(month)s + interval '1 month'))
    UNION ALL
    SELECT f.grant_id, f.billing_month, f.amount_nanousd
    FROM entry_facts AS f, rollup_state AS r
    WHERE f.seq > r.seq AND f.vendor = %(vendor)s AND f.kind <> 'transfer'
      AND ((f.billing_month = %(month)s AND f.held_at < %(since)s)
           OR (f.billing_month > %(month)s AND f.held_at >= %(since)s AND f.held_at < %(until)s))
)
SELECT coalesce((SELECT jsonb_object_agg(l.grant_id, l.amount_nanousd)
                 FROM (SELECT grant_id, sum(amount_nanousd)::bigint AS amount_nanousd FROM moved
                       WHERE billing_month = %(month)s GROUP BY 1) AS l), '{}'),
       (SELECT coalesce(sum(amount_nanousd), 0)::bigint FROM moved WHERE billing_month > %(month)s),
       coalesce((SELECT c.amount_nanousd FROM carried_into(%(month)s) AS c WHERE c.vendor = %(vendor)s), 0)
