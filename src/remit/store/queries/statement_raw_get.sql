-- The bytes of a statement, with what they have to be.
SELECT s.sha256, s.size_bytes, r.packed FROM statement_raw AS r JOIN statements AS s ON s.id = r.statement_id
WHERE r.statement_id = %(id)s
