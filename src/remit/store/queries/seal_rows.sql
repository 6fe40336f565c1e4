-- Entries between two numbers in order, the first left out, each with its row as JSON, which is made of no others.
SELECT seq, row_to_json(e)::text
FROM (
    SELECT * FROM entries WHERE seq > %(after)s AND seq <= %(until)s ORDER BY seq LIMIT %(count)s
) AS e
ORDER BY seq
