-- The last seal.
SELECT first_index, size, first_seq, last_seq, sealed_at FROM ledger_seals ORDER BY first_index DESC LIMIT 1
