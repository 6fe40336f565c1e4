-- Roles of people, those that stand or all there ever were.
SELECT b.id, b.person, b.role, b.grant_id, g.path, b.source, b.created_at, b.created_by, b.ended_at, b.ended_by
FROM role_bindings AS b LEFT JOIN grants AS g ON g.id = b.grant_id
WHERE (%(ended)s OR b.ended_at IS NULL) AND (%(person)s::text IS NULL OR b.person = %(person)s)
  AND (%(id)s::text IS NULL OR b.id = %(id)s)
ORDER BY b.person, b.role, g.path NULLS FIRST, b.created_at, b.id
