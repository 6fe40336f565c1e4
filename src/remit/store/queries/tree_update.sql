-- A new state of a grant, if it is still at the expected revision.
UPDATE grants
SET (owner, class, status, starts_at, expires_at, revision, epoch, body)
    = (%(owner)s, %(class)s, %(status)s, %(starts_at)s, %(expires_at)s, %(revision)s, %(epoch)s, %(body)s)
WHERE id = %(id)s AND path = %(path)s AND revision = %(expected)s
