-- Where a channel keeps a ticket from now on.
INSERT INTO ticket_threads (channel, remote_ref, ticket_id) VALUES (%(channel)s, %(remote_ref)s, %(ticket_id)s)
ON CONFLICT (channel, ticket_id) DO UPDATE SET remote_ref = excluded.remote_ref
