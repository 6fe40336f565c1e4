-- Makes a sink known. It begins with the first entry recorded from an instant on; without one after what is settled by now, or, from the
-- start, with the first entry there is.
INSERT INTO sinks (name, seq, known_at, next_attempt_at)
VALUES (%(sink)s,
        CASE WHEN %(start)s THEN 0
             WHEN %(since)s::timestamptz IS NULL THEN (SELECT seq FROM rollup_state)
             ELSE least((SELECT seq FROM rollup_state),
                        coalesce((SELECT min(seq) - 1 FROM entries WHERE recorded_at >= %(since)s), (SELECT seq FROM rollup_state)))
        END, %(now)s, %(now)s)
ON CONFLICT (name) DO NOTHING
