-- What happened to a ticket, oldest first.
SELECT e.ticket_id, e.at, e.who, e.what, e.text, e.source, e.seq FROM ticket_events AS e
WHERE e.ticket_id = %(ticket_id)s
ORDER BY e.seq
