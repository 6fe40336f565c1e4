-- For every hour and day that has charges: what entries come to, and what is kept. Requests and tokens are compared along with money, as
-- one text, so that a difference in any of them is seen. Months which have left have sums and no entries: they are left out.
WITH entry_sums AS (
    SELECT date_trunc('hour', f.held_at, 'UTC') AS hour, f.billing_month, f.kind, sum(f.entries) AS entries,
           sum(f.requests) AS requests, sum(f.tokens) AS tokens, sum(f.amount_nanousd) AS amount,
           sum(f.suspense_nanousd) AS suspense
    FROM entry_facts AS f WHERE f.seq <= (SELECT seq FROM rollup_state) AND NOT is_dropped(f.held_at)
    GROUP BY 1, 2, 3
), hour_sums AS (
    SELECT h.hour, h.billing_month, s.dims ->> 'kind' AS kind, sum(h.entries) AS entries, sum(h.requests) AS requests,
           sum(h.tokens) AS tokens, sum(h.amount_nanousd) AS amount, sum(h.suspense_nanousd) AS suspense
    FROM rollup_hours AS h JOIN rollup_series AS s ON s.id = h.series_id
    WHERE NOT is_dropped(h.hour)
    GROUP BY 1, 2, 3
), day_sums AS (
    SELECT d.day, d.billing_month, s.dims ->> 'kind' AS kind, sum(d.entries) AS entries, sum(d.requests) AS requests,
           sum(d.tokens) AS tokens, sum(d.amount_nanousd) AS amount, sum(d.suspense_nanousd) AS suspense
    FROM rollup_days AS d JOIN rollup_series AS s ON s.id = d.series_id
    WHERE NOT is_dropped(d.day::timestamp AT TIME ZONE 'UTC')
    GROUP BY 1, 2, 3
), by_day AS (
    SELECT (hour AT TIME ZONE 'UTC')::date AS day, billing_month, kind, sum(entries) AS entries, sum(requests) AS requests,
           sum(tokens) AS tokens, sum(amount) AS amount, sum(suspense) AS suspense
    FROM hour_sums GROUP BY 1, 2, 3
)
SELECT concat_ws(' ', to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24"h"'), kind),
       concat_ws(' ', e.entries, e.requests, e.tokens, e.amount, e.suspense),
       concat_ws(' ', h.entries, h.requests, h.tokens, h.amount, h.suspense)
FROM entry_sums AS e FULL JOIN hour_sums AS h USING (hour, billing_month, kind)
UNION ALL
SELECT concat_ws(' ', to_char(day, 'YYYY-MM-DD'), kind),
       concat_ws(' ', b.entries, b.requests, b.tokens, b.amount, b.suspense),
       concat_ws(' ', d.entries, d.requests, d.tokens, d.amount, d.suspense)
FROM by_day AS b FULL JOIN day_sums AS d USING (day, billing_month, kind)
ORDER BY 1
