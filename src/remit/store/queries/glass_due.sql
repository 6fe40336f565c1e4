-- Break-glasses whose time is up.
SELECT b.ticket_id, b.ends_at, b.raised FROM break_glasses AS b
WHERE b.ended_at IS NULL AND b.ends_at <= %(now)s
ORDER BY b.ends_at, b.ticket_id
