-- The next entries that are settled by now, in order. (number, row, whether somebody is charged for it)
SELECT e.seq, row_to_json(e), is_charged(e.kind, e.debtor_id)
FROM (SELECT * FROM entries
      WHERE seq > %(after)s AND seq <= (SELECT seq FROM rollup_state) ORDER BY seq LIMIT %(count)s) AS e
ORDER BY e.seq
