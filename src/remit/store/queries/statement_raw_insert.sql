-- The bytes of a statement.
INSERT INTO statement_raw (statement_id, packed) VALUES (%(id)s, %(packed)b)
