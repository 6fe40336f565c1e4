-- How an attempt at a period ended: with a file, or with why there is none.
UPDATE export_files SET written_at = %(written_at)s, path = %(path)s, rows = %(rows)s, error = %(error)s, next_attempt_at = %(next)s
WHERE export = %(export)s AND period = %(period)s
