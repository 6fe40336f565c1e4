-- Keeps a grace that was given.
INSERT INTO graces (grant_id, regular_until, until) VALUES (%(grant_id)s, %(regular_until)s, %(until)s)
