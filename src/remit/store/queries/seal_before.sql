-- The last number that is sealed before the seal in which an index is.
SELECT max(last_seq) FROM ledger_seals WHERE size <= %(index)s
