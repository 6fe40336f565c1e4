-- Up to which number the next segment goes, NULL where there is nothing for one: entries in order, as far as they are complete, at most
-- so many, up to the first one that is neither of a closed month nor recorded before `cutoff`.
WITH next AS MATERIALIZED (
    SELECT e.seq, e.recorded_at <= %(cutoff)s
                  OR coalesce(e.billing_month, date_trunc('month', e.held_at AT TIME ZONE 'UTC')::date) <= b.closed_through AS is_due
    FROM entries AS e CROSS JOIN books AS b
    WHERE e.seq > %(after)s AND e.seq <= (SELECT archivable_seq())
    ORDER BY e.seq
    LIMIT %(at_most)s
)
SELECT max(seq) FROM next WHERE seq < coalesce((SELECT min(seq) FROM next WHERE is_due IS NOT TRUE), 9223372036854775807)
