-- Whoever asserts outcomes does so alone, until their transaction ends; readers do not wait.
SELECT pg_advisory_xact_lock(hashtextextended('remit outcomes', 0))
