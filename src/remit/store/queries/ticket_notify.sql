-- A notification to people by name, once for a kind, grant, ticket, occasion and number.
INSERT INTO notifications (kind, audience, node_id, threshold, period_start, ticket_id, recipients, body, created_at,
                           next_attempt_at)
VALUES (%(kind)s, 'named', %(node_id)s, %(number)s, %(occasion)s, %(ticket_id)s, %(recipients)s, %(body)s, %(now)s, %(now)s)
ON CONFLICT DO NOTHING
