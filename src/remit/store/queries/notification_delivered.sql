-- Marks a notification as delivered.
UPDATE notifications SET delivered_at = %(now)s WHERE id = %(id)s
