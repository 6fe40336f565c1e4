-- Makes the dead letters of a notification due again, with all attempts before them.
UPDATE deliveries SET state = 'due', attempts = 0, next_attempt_at = %(now)s
WHERE notification_id = %(id)s AND state = 'dead'
RETURNING channel
