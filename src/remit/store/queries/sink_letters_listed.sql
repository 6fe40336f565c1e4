-- Entries that receivers refused for good, oldest first; without an id where the entry is in the archive alone.
SELECT l.sink, l.seq, e.id AS entry_id, l.state, l.error, l.at
FROM sink_letters AS l LEFT JOIN entries AS e USING (seq)
WHERE l.state <> 'delivered'
ORDER BY l.at, l.sink, l.seq
LIMIT %(count)s
