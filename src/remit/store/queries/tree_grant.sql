-- The grant of an id, or else of a path.
SELECT body FROM grants WHERE id = %(ref)s OR path = %(ref)s ORDER BY (id = %(ref)s) DESC LIMIT 1
