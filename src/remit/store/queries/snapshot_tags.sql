-- The tag names whose values are governed.
SELECT name, revision, owner, allowed, retired, grant_id FROM governed_tags ORDER BY name
