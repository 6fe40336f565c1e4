-- How an attempt ended; one that was overtaken by a later attempt changes nothing.
UPDATE deliveries
SET state = %(state)s, next_attempt_at = %(next)s, remote_ref = coalesce(%(remote_ref)s, remote_ref), error = %(error)s,
    delivered_at = CASE WHEN %(state)s = 'delivered' THEN %(now)s::timestamptz END
WHERE notification_id = %(id)s AND channel = %(channel)s AND state = 'due' AND attempts = %(attempts)s
