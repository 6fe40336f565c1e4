-- Trips that no ticket was opened for yet, oldest first; a ticket names its trip by its dedupe key.
SELECT t.id, t.grant_id, g.path, g.owner, g.class, t.scope, t.subject, t.rule, t.measured, t.allowed, t.calls, t.tags, t.mode,
       t.tripped_at, t.until
FROM trips AS t JOIN grants AS g ON g.id = t.grant_id
WHERE NOT EXISTS (SELECT FROM tickets AS k WHERE k.dedupe_key = 'trip:' || t.id)
ORDER BY t.seq
LIMIT %(count)s
