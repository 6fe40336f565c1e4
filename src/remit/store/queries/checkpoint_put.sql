INSERT INTO ledger_checkpoints (origin, size, root, note, signed_at)
VALUES (%(origin)s, %(size)s, %(root)s, %(note)s, %(now)s)
ON CONFLICT (origin, size) DO NOTHING
