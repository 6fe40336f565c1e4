-- The months with calls in the archive alone between two instants, where there is something to look for.
SELECT m.month
FROM (SELECT DISTINCT date_trunc('month', d.day)::date AS month FROM rollup_days AS d
      WHERE (%(from)s::timestamptz IS NULL OR d.day >= (%(from)s::timestamptz AT TIME ZONE 'UTC')::date)
        AND (%(until)s::timestamptz IS NULL OR d.day::timestamp AT TIME ZONE 'UTC' < %(until)s)) AS m
WHERE is_dropped(m.month::timestamp AT TIME ZONE 'UTC')
  AND EXISTS (SELECT FROM outcomes AS o WHERE %(kind)s::text IS NULL OR o.kind = %(kind)s)
ORDER BY 1
