-- The number up to which the ledger is complete; in a transaction of its own.
SELECT settled_seq()
