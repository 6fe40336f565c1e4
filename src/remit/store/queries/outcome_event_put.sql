-- A new event; fails where the source's event of that id is known.
INSERT INTO outcome_events (outcome_id, source, event_id, status, value_nanousd, evidence_url, weight_ppm, occurred_at,
                            recorded_at, asserted_by, asserted_with)
VALUES (%(outcome_id)s, %(source)s, %(event_id)s, %(status)s, %(value_nanousd)s, %(evidence_url)s, %(weight_ppm)s,
        %(occurred_at)s, %(recorded_at)s, %(asserted_by)s, %(asserted_with)s)
RETURNING seq
