-- Every sink that was ever known, with what waits for it and what it refused.
SELECT s.name, s.seq, s.known_at, s.attempts, s.next_attempt_at, s.delivered, s.delivered_at, s.failed_at, s.error,
       (SELECT count(*) FROM entries AS e WHERE e.seq > s.seq) AS waiting,
       (SELECT min(e.recorded_at) FROM entries AS e
        WHERE e.seq = (SELECT min(n.seq) FROM entries AS n WHERE n.seq > s.seq)) AS waiting_since,
       (SELECT count(*) FROM sink_letters AS l WHERE l.sink = s.name AND l.state <> 'delivered') AS letters
FROM sinks AS s
ORDER BY s.name
