-- Trips of the breaker that are in effect. A day longer: the clock of a gateway that has read this may be set back.
SELECT t.id, t.grant_id, t.scope, t.subject, t.rule, t.measured, t.allowed, t.mode, t.until, t.tree_revision
FROM trips AS t
WHERE t.until > %(now)s - interval '1 day' AND NOT EXISTS (SELECT FROM trip_ends AS e WHERE e.trip_id = t.id)
ORDER BY t.seq
