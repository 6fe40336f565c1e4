INSERT INTO ledger_tiles (level, number, hashes) VALUES (%(level)s, %(number)s, %(hashes)s)
ON CONFLICT (level, number) DO UPDATE SET hashes = excluded.hashes
