-- Takes a message from a channel as heard; waits for whoever hears the same one at this moment. No row: it was heard before.
INSERT INTO heard (channel, delivery_id, at) VALUES (%(channel)s, %(delivery_id)s, %(now)s)
ON CONFLICT (channel, delivery_id) DO NOTHING
RETURNING delivery_id
