-- I6: open holds whose time was up well before now.
SELECT id, expires_at FROM holds
WHERE state = 'open' AND expires_at < %(now)s::timestamptz - make_interval(secs => %(grace_seconds)s)
ORDER BY expires_at
