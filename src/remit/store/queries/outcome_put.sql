-- A new outcome; nothing where it is known.
INSERT INTO outcomes (id, source, kind, subject, grant_id)
VALUES (%(outcome_id)s, %(source)s, %(kind)s, %(subject)s, %(grant_id)s)
ON CONFLICT DO NOTHING
