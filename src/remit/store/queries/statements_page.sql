-- Statements, the newest first; those before a number, of a vendor or source, of one id, and only those that are current: that nothing
-- supersedes and nobody withdrew. What was withdrawn supersedes nothing.
SELECT s.seq, s.id, s.vendor, s.source, s.account, s.covers_since, s.covers_until, s.version, s.supersedes, n.id AS superseded_by,
       s.is_complete, encode(s.sha256, 'hex') AS sha256, s.size_bytes, encode(s.lines_sha256, 'hex') AS lines_sha256, s.row_count,
       s.line_count, s.amount_nanousd, s.amounts, s.rows_left_out, s.amounts_left_out, s.meters, s.remarks, s.options, s.imported_at,
       s.imported_by, w.at AS withdrawn_at, w.by AS withdrawn_by, w.reason AS withdrawn_reason
FROM statements AS s
LEFT JOIN statement_withdrawals AS w ON w.statement_id = s.id
LEFT JOIN LATERAL (
    SELECT later.id FROM statements AS later
    WHERE later.vendor = s.vendor AND later.source = s.source AND later.account = s.account AND later.covers_since = s.covers_since
      AND later.covers_until = s.covers_until AND later.version > s.version
      AND NOT EXISTS (SELECT FROM statement_withdrawals AS x WHERE x.statement_id = later.id)
    ORDER BY later.version LIMIT 1) AS n ON true
WHERE (%(id)s::text IS NULL OR s.id = %(id)s)
  AND (%(before)s::bigint IS NULL OR s.seq < %(before)s)
  AND (%(vendor)s::text IS NULL OR s.vendor = %(vendor)s)
  AND (%(source)s::text IS NULL OR s.source = %(source)s)
  AND (NOT %(current)s OR (n.id IS NULL AND w.statement_id IS NULL))
ORDER BY s.seq DESC
LIMIT %(count)s
