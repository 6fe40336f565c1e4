-- What of the ledger an event says its outcome is about.
INSERT INTO outcome_joins (event_seq, outcome_id, how, name, value, since, until)
VALUES (%(event_seq)s, %(outcome_id)s, %(kind)s, %(name)s, %(value)s, %(since)s, %(until)s)
