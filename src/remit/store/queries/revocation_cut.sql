-- Whether a revocation of this, with that very cut-off or none, asked for calls to be cut.
SELECT 1 FROM revocations
WHERE kind = %(kind)s AND subject = %(subject)s AND cut_streams AND issued_before IS NOT DISTINCT FROM %(issued_before)s
LIMIT 1
