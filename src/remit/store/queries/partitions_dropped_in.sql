-- Whether one of these spans reaches into a month whose calls are in the archive alone.
SELECT EXISTS (
    SELECT FROM unnest(%(rest_from)s::timestamptz[], %(rest_until)s::timestamptz[]) AS s (since, until)
    JOIN ledger_partitions AS p ON p.dropped_at IS NOT NULL AND p.begins < s.until AND p.ends > s.since)
