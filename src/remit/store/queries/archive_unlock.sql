SELECT pg_advisory_unlock(7237531)
