-- Periods of exports, newest first.
SELECT export, period, attempts, next_attempt_at, written_at, path, rows, error
FROM export_files
ORDER BY period DESC, export
LIMIT %(count)s
