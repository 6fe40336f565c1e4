-- The newest periods of an export, and whether each was written.
SELECT period, written_at IS NOT NULL FROM export_files WHERE export = %(export)s ORDER BY period DESC LIMIT %(count)s
