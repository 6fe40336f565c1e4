-- All statements of a vendor, source and account, for finding the place of the next one.
SELECT s.id, s.covers_since, s.covers_until, s.version, s.lines_sha256, s.is_complete, w.statement_id IS NOT NULL AS is_withdrawn
FROM statements AS s LEFT JOIN statement_withdrawals AS w ON w.statement_id = s.id
WHERE s.vendor = %(vendor)s AND s.source = %(source)s AND s.account = %(account)s
ORDER BY s.version
