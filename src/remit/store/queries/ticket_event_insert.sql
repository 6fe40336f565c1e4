-- Appends what happened to a ticket.
INSERT INTO ticket_events (ticket_id, at, who, what, text, source)
VALUES (%(ticket_id)s, %(at)s, %(who)s, %(what)s, %(text)s, %(source)s)
