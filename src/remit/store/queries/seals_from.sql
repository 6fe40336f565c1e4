-- Seals from an index on, in order.
SELECT first_index, size, first_seq, last_seq, sealed_at FROM ledger_seals WHERE size > %(index)s ORDER BY first_index
