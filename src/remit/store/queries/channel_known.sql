-- Remembers since when a channel is there; the first time stands.
INSERT INTO channels (name, since) VALUES (%(channel)s, %(now)s) ON CONFLICT (name) DO NOTHING
