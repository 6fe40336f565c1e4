-- A revocation. Inserting it makes the next state of the tree, which is the one it names: the tree is locked.
INSERT INTO revocations (id, kind, subject, grant_id, cut_streams, issued_before, keep_until, tree_revision, revoked_at,
                         revoked_by, reason)
SELECT %(id)s, %(kind)s, %(subject)s, %(grant_id)s, %(cut_streams)s, %(issued_before)s, %(keep_until)s, revision + 1,
       %(revoked_at)s, %(revoked_by)s, %(reason)s
FROM tree_state
RETURNING tree_revision
