-- The tags of the vocabulary as they are now; with the retired ones, or without.
SELECT name, revision, owner, description, allowed, retired, grant_id, is_retired
FROM tag_names
WHERE (%(name)s::text IS NULL OR name = %(name)s) AND (%(retired)s OR NOT is_retired)
ORDER BY name
