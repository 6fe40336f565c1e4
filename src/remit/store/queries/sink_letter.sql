-- What became of one entry that the receiver had refused, or refuses now.
INSERT INTO sink_letters (sink, seq, state, error, at) VALUES (%(sink)s, %(seq)s, %(state)s, %(error)s, %(now)s)
ON CONFLICT (sink, seq) DO UPDATE SET state = excluded.state, error = excluded.error, at = excluded.at
