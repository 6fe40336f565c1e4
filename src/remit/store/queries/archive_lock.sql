-- Whether this session is the one that archives, from now until it ends.
SELECT pg_try_advisory_lock(7237531)
