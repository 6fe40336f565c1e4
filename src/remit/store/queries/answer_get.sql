-- The first answer under an idempotency key.
SELECT idempotency_key, body, answer FROM answers WHERE idempotency_key = %(key)s
