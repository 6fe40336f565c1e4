-- The ticket that a channel keeps under a reference.
SELECT ticket_id FROM ticket_threads WHERE channel = %(channel)s AND remote_ref = %(remote_ref)s
