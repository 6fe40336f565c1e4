-- Marks a notification as delivered.
UPDATE notifications SET delivered_at = %(now)s, attempts = attempts + 1 WHERE id = %(id)s
