-- A new grant.
INSERT INTO grants (id, path, parent_id, owner, class, status, starts_at, expires_at, revision, epoch, body)
VALUES (%(id)s, %(path)s, %(parent_id)s, %(owner)s, %(class)s, %(status)s, %(starts_at)s, %(expires_at)s,
        %(revision)s, %(epoch)s, %(body)s)
