-- Tiles above the leaves', in order.
SELECT level, number, hashes || rest FROM ledger_tiles WHERE level > 0 ORDER BY level, number
