-- Letters that are to be tried again, in order. (number, row, whether somebody is charged for it)
SELECT e.seq, row_to_json(e), is_charged(e.kind, e.debtor_id)
FROM sink_letters AS l JOIN entries AS e USING (seq)
WHERE l.sink = %(sink)s AND l.state = 'due'
ORDER BY l.seq LIMIT %(count)s
