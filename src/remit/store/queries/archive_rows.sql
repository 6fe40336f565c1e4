-- Entries with these numbers in order, each with its row as JSON and whether it is as it was written.
SELECT e.seq, e.entry_hash = hash_of(e), row_to_json(e)::text FROM entries AS e
WHERE e.seq >= %(first)s AND e.seq <= %(last)s ORDER BY e.seq
