-- Takes a period of an export that was not written yet and whose time has come, and puts it off; answers how often it was tried.
INSERT INTO export_files AS f (export, period, attempts, next_attempt_at)
VALUES (%(export)s, %(period)s, 1, %(until)s)
ON CONFLICT (export, period) DO UPDATE SET attempts = f.attempts + 1, next_attempt_at = excluded.next_attempt_at
    WHERE f.written_at IS NULL AND f.next_attempt_at <= %(now)s
RETURNING attempts
