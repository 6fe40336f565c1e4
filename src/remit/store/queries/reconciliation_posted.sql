-- Keeps that what a comparison proposed was booked.
INSERT INTO reconciliation_postings (reconciliation_id, at, by, entry_ids) VALUES (%(id)s, %(at)s, %(by)s, %(entries)s)
