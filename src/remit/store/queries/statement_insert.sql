-- A statement, before its lines.
INSERT INTO statements (id, vendor, source, account, covers_since, covers_until, version, supersedes, is_complete, sha256, size_bytes,
                        lines_sha256, row_count, line_count, amount_nanousd, amounts, rows_left_out, amounts_left_out, meters,
                        remarks, options, imported_at, imported_by)
VALUES (%(id)s, %(vendor)s, %(source)s, %(account)s, %(since)s, %(until)s, %(version)s, %(supersedes)s, %(is_complete)s, %(sha256)s,
        %(size_bytes)s, %(lines_sha256)s, %(rows)s, %(lines)s, %(amount_nanousd)s, %(amounts)s, %(rows_left_out)s,
        %(amounts_left_out)s, %(meters)s, %(remarks)s, %(options)s, %(now)s, %(by)s)
