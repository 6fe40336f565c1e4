-- Appends a revision.
INSERT INTO grant_revisions (grant_id, revision, body, changed_at, changed_by, reason, idempotency_key)
VALUES (%(grant_id)s, %(revision)s, %(body)s, %(changed_at)s, %(changed_by)s, %(reason)s, %(idempotency_key)s)
