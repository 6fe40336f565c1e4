-- Revokes every token of a person.
UPDATE people_tokens SET revoked_at = %(now)s WHERE person = %(person)s AND revoked_at IS NULL
