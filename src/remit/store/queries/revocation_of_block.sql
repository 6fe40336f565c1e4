-- When and by whom a block was revoked.
SELECT revoked_at, revoked_by FROM revocations WHERE kind = 'block' AND subject = %(id)s LIMIT 1
