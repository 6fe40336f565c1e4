-- The seal of the entry with a number: its first index, its end, and how many entries that are here stand before that one in it; no row
-- where it is not sealed.
SELECT s.first_index, s.size, (SELECT count(*) FROM entries WHERE seq >= s.first_seq AND seq < %(seq)s) AS rank
FROM (SELECT * FROM ledger_seals WHERE last_seq >= %(seq)s ORDER BY last_seq LIMIT 1) AS s WHERE s.first_seq <= %(seq)s
