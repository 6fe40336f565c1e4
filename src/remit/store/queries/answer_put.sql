-- Remembers the first answer under an idempotency key.
INSERT INTO answers (idempotency_key, body, answer) VALUES (%(key)s, %(body)s, %(answer)s)
