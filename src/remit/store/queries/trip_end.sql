-- A person ends a trip; again, it changes nothing.
INSERT INTO trip_ends (trip_id, ended_at, ended_by, reason) VALUES (%(id)s, %(now)s, %(by)s, %(reason)s)
ON CONFLICT DO NOTHING
