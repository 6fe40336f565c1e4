-- One import after the other: which statement takes the place of which is decided on what is kept.
SELECT pg_advisory_xact_lock(hashtextextended('remit statements', 0)), set_config('statement_timeout', '600000', true)
