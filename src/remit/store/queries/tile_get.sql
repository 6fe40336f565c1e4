SELECT hashes FROM ledger_tiles WHERE (level, number) = (%(level)s, %(number)s)
