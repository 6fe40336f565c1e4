-- Entries after a number in order, each as JSON.
SELECT row_to_json(e)::text FROM entries AS e WHERE e.seq > %(after)s ORDER BY e.seq
