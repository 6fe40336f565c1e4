-- Dead letters after a notification's id, oldest first, with the reason; all of the last notification, however many.
SELECT d.notification_id AS id, d.channel, n.kind, n.audience, g.path, d.attempts, d.error, d.created_at, n.ticket_id
FROM deliveries AS d
JOIN notifications AS n ON n.id = d.notification_id
LEFT JOIN grants AS g ON g.id = n.node_id
WHERE d.state = 'dead' AND d.notification_id > %(after)s
ORDER BY d.notification_id
FETCH FIRST %(count)s ROWS WITH TIES
