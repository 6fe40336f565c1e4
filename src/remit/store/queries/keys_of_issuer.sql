-- What the access keys of an issuer key, or of a grant, stand for.
SELECT id, grant_id, payload FROM access_keys
WHERE (%(kid)s::text IS NULL OR kid = %(kid)s) AND (%(id)s::text IS NULL OR id = %(id)s)
