-- All statements of a vendor, source and account, for finding the place of the next one.
SELECT id, covers_since, covers_until, version, lines_sha256, is_complete FROM statements
WHERE vendor = %(vendor)s AND source = %(source)s AND account = %(account)s
ORDER BY version
