-- Moves a sink on, if it is still where it was claimed at.
UPDATE sinks SET seq = %(to)s, attempts = 0, next_attempt_at = %(next)s, delivered = delivered + %(count)s,
    delivered_at = CASE WHEN %(count)s > 0 THEN %(now)s ELSE delivered_at END, error = NULL
WHERE name = %(sink)s AND seq = %(from)s
