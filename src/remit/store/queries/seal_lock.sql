-- Whether this session is the one that seals, from now until it ends.
SELECT pg_try_advisory_lock(7237525)
