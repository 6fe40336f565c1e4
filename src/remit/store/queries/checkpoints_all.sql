-- What was published under a name, in order.
SELECT note FROM ledger_checkpoints WHERE origin = %(origin)s ORDER BY size
