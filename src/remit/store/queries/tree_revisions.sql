-- All revisions of a grant, oldest first.
SELECT grant_id, revision, body, changed_at, changed_by, reason, coalesce(idempotency_key, '')
FROM grant_revisions WHERE grant_id = %(grant_id)s ORDER BY revision
