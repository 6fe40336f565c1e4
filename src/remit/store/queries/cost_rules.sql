-- The rules that divide cost as they are now; with the retired ones, or without.
SELECT name, revision, owner, description, body, is_retired
FROM cost_rules
WHERE (%(name)s::text IS NULL OR name = %(name)s) AND (%(retired)s OR NOT is_retired)
ORDER BY name
