-- Tells people by name, or security where nobody is left to tell, that a grant has no owner any more.
INSERT INTO notifications (kind, audience, node_id, period_start, body, created_at, next_attempt_at, recipients)
VALUES ('ownerless', CASE WHEN cardinality(%(recipients)s::text[]) > 0 THEN 'named' ELSE 'security' END, %(node)s,
        %(now)s, %(body)s, %(now)s, %(now)s, %(recipients)s)
ON CONFLICT DO NOTHING
