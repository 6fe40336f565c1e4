-- Puts a sink back, or on, to the first entry recorded from an instant on. (where it was, where it is)
UPDATE sinks AS s SET next_attempt_at = %(now)s, attempts = 0,
    seq = least((SELECT seq FROM rollup_state),
                coalesce((SELECT min(e.seq) - 1 FROM entries AS e WHERE e.recorded_at >= %(since)s), (SELECT seq FROM rollup_state)))
FROM (SELECT name, seq FROM sinks WHERE name = %(sink)s FOR UPDATE) AS before
WHERE s.name = before.name
RETURNING before.seq, s.seq
