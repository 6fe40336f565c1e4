-- What was asked for under a key.
SELECT asked FROM reconciliations WHERE key = %(key)s
