-- Keeps what a break-glass raised.
INSERT INTO break_glasses (ticket_id, ends_at, raised) VALUES (%(ticket_id)s, %(ends_at)s, %(raised)s)
