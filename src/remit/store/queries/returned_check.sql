-- Months of which not as much came back as had left, by the sums that were made of them before. (month, left, returned)
SELECT m.month, l.told, r.told
FROM unnest(%(months)s::date[]) AS m (month),
LATERAL (SELECT format('%%s of %%s nano-USD', coalesce(sum(s.entries), 0), coalesce(sum(s.amount_nanousd), 0)) AS told
         FROM dropped_sums AS s
         WHERE s.quarter >= m.month::timestamp AT TIME ZONE 'UTC'
           AND s.quarter < (m.month + interval '1 month') AT TIME ZONE 'UTC') AS l,
LATERAL (SELECT format('%%s of %%s nano-USD', count(*), coalesce(sum(e.amount_nanousd), 0)) AS told
         FROM pg_temp.returned AS e
         WHERE e.held_at >= m.month::timestamp AT TIME ZONE 'UTC'
           AND e.held_at < (m.month + interval '1 month') AT TIME ZONE 'UTC') AS r
WHERE l.told <> r.told
ORDER BY m.month
