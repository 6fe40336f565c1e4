-- The index of an entry in the tree; no row where it is not sealed.
SELECT s.first_index + (SELECT count(*) FROM entries WHERE seq >= s.first_seq AND seq < e.seq) AS index
FROM entries AS e
JOIN LATERAL (
    SELECT first_index, first_seq, last_seq FROM ledger_seals WHERE last_seq >= e.seq ORDER BY last_seq LIMIT 1
) AS s ON s.first_seq <= e.seq
WHERE e.id = %(id)s AND (%(nodes)s::text[] IS NULL OR e.node_ids && %(nodes)s::text[])
