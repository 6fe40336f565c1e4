-- Segments in order.
SELECT first_seq, last_seq, entries, amount_nanousd::text, digest, hashes, delta_version, written_at FROM segments ORDER BY first_seq
