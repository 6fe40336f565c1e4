-- The approved renewals of a grant, the newest first: whether a person decided each.
SELECT t.tier = 'auto' FROM tickets AS t
WHERE t.grant_id = %(grant_id)s AND t.kind = 'renew' AND t.state = 'approved'
ORDER BY t.decided_at DESC, t.id DESC
LIMIT 100
