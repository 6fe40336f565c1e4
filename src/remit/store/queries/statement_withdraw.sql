-- Withdraws a statement, unless that was done before.
INSERT INTO statement_withdrawals (statement_id, at, by, reason) VALUES (%(id)s, %(now)s, %(by)s, %(reason)s)
ON CONFLICT (statement_id) DO NOTHING
RETURNING statement_id
