-- Entries between two numbers in order, the first left out, each with its row as JSON.
SELECT seq, row_to_json(e)::text FROM entries AS e WHERE seq > %(after)s AND seq <= %(until)s ORDER BY seq LIMIT %(count)s
