-- Lets a sink be taken again at once.
UPDATE sinks SET next_attempt_at = %(now)s WHERE name = %(sink)s
