-- One revocation.
SELECT id, kind, subject, grant_id, cut_streams, issued_before, keep_until, tree_revision, revoked_at, revoked_by, reason
FROM revocations WHERE id = %(id)s
