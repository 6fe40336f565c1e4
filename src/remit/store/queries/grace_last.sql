-- The end of the grace that a grant was given last.
SELECT g.until FROM graces AS g WHERE g.grant_id = %(grant_id)s ORDER BY g.until DESC LIMIT 1
