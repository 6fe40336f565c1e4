-- Months and classes that left the archive or are about to, and how many of their entries are not here either.
SELECT x.month, x.class AS entry_class, x.entries, x.first_seq, x.last_seq, x.kept_months, coalesce(x.done_at, x.begun_at) AS gone_at, x.digest,
       x.entries - (SELECT count(*) FROM entries AS e
                    WHERE e.held_at >= x.month::timestamp AT TIME ZONE 'UTC'
                      AND e.held_at < (x.month + interval '1 month') AT TIME ZONE 'UTC' AND e.class = x.class
                      AND e.seq BETWEEN x.first_seq AND x.last_seq) AS gone
FROM expired_months AS x
ORDER BY x.month, x.class
