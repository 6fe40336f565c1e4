-- Makes the letters of a sink due again, but for those in the archive alone, and the sink as well.
WITH letters AS (
    UPDATE sink_letters SET state = 'due', at = %(now)s WHERE sink = %(sink)s AND state = 'dead'
        AND EXISTS (SELECT FROM entries AS e WHERE e.seq = sink_letters.seq)
    RETURNING 1
), freed AS (
    UPDATE sinks SET next_attempt_at = %(now)s WHERE name = %(sink)s RETURNING 1
)
SELECT (SELECT count(*) FROM letters), (SELECT count(*) FROM freed)
