-- Puts a notification off after a failed delivery.
UPDATE notifications SET next_attempt_at = %(at)s, attempts = attempts + 1 WHERE id = %(id)s
