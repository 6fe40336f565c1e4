-- Entries whose content no longer matches the hash taken when they were written.
SELECT e.id, encode(e.entry_hash, 'hex'), encode(hash_of(e), 'hex')
FROM entries AS e
WHERE e.entry_hash IS DISTINCT FROM hash_of(e)
ORDER BY e.seq
