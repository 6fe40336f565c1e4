-- Tells security that the ledger is not what was signed; once a day.
INSERT INTO notifications (kind, audience, node_id, dimension, period_kind, period_start, body, created_at, next_attempt_at)
VALUES ('finding', 'security', '', 'ledger', 'day', date_trunc('day', %(now)s::timestamptz, 'UTC'),
        jsonb_build_object('detail', %(detail)s::text), %(now)s, %(now)s)
ON CONFLICT DO NOTHING
