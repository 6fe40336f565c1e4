INSERT INTO ledger_seals (first_index, size, first_seq, last_seq, sealed_at)
VALUES (%(first_index)s, %(size)s, %(first_seq)s, %(last_seq)s, %(now)s)
