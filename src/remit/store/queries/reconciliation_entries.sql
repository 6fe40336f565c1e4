-- What a comparison proposes to book, and the entries that were booked for it, if they were.
SELECT r.entries, p.entry_ids
FROM reconciliations AS r LEFT JOIN reconciliation_postings AS p ON p.reconciliation_id = r.id
WHERE r.id = %(id)s
