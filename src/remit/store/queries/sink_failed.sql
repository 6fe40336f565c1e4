-- Says why a sink was not fed, and when it is tried again; its place is where it was.
UPDATE sinks SET attempts = attempts + 1, next_attempt_at = %(next)s, failed_at = %(now)s, error = %(error)s WHERE name = %(sink)s
