SELECT hashes || rest FROM ledger_tiles WHERE (level, number) = (%(level)s, %(number)s)
