INSERT INTO ledger_tiles (level, number, hashes, rest)
VALUES (%(level)s, %(number)s, substring(%(hashes)s::bytea FOR 7968), substring(%(hashes)s::bytea FROM 7969))
ON CONFLICT (level, number) DO UPDATE SET (hashes, rest) = (excluded.hashes, excluded.rest)
