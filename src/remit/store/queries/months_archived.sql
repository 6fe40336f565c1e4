-- The months of calls in the archive alone that something of a billing month was booked for, and that month itself if it is one.
SELECT DISTINCT date_trunc('month', x.day)::date AS month
FROM (SELECT %(month)s::date AS day
      UNION ALL
      SELECT d.day FROM rollup_days AS d WHERE d.billing_month = %(month)s) AS x
WHERE is_dropped(x.day::timestamp AT TIME ZONE 'UTC')
ORDER BY 1
