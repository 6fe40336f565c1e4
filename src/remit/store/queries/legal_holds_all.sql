-- Legal holds, the oldest first; those that were lifted only where asked for.
SELECT l.id, l.grant_id, g.path, l.reason, l.placed_by, l.placed_at, l.lifted_by, l.lifted_at
FROM legal_holds AS l LEFT JOIN grants AS g ON g.id = l.grant_id
WHERE l.lifted_at IS NULL OR %(lifted)s
ORDER BY l.placed_at, l.id
