-- Statements, the newest first; those before a number, of a vendor or source, of one id, and only those that nothing supersedes.
SELECT s.seq, s.id, s.vendor, s.source, s.account, s.covers_since, s.covers_until, s.version, s.supersedes, n.id AS superseded_by,
       s.is_complete, encode(s.sha256, 'hex') AS sha256, s.size_bytes, encode(s.lines_sha256, 'hex') AS lines_sha256, s.row_count,
       s.line_count, s.amount_nanousd, s.amounts, s.rows_left_out, s.amounts_left_out, s.meters, s.remarks, s.options, s.imported_at,
       s.imported_by
FROM statements AS s
LEFT JOIN statements AS n ON n.supersedes = s.id
WHERE (%(id)s::text IS NULL OR s.id = %(id)s)
  AND (%(before)s::bigint IS NULL OR s.seq < %(before)s)
  AND (%(vendor)s::text IS NULL OR s.vendor = %(vendor)s)
  AND (%(source)s::text IS NULL OR s.source = %(source)s)
  AND (NOT %(current)s OR n.id IS NULL)
ORDER BY s.seq DESC
LIMIT %(count)s
