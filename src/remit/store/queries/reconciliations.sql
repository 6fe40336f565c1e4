-- Comparisons, the newest first: of an id, of a key, of a month and a vendor, or all.
SELECT r.id, r.month, r.vendor, r.made_at, r.made_by, r.statements,
       ARRAY (SELECT w.statement_id FROM statement_withdrawals AS w WHERE w.statement_id = ANY (r.statements) ORDER BY 1) AS withdrawn,
       r.bills, r.ledger_nanousd, r.billed_nanousd, r.found_nanousd,
       r.unexplained_nanousd, r.proposed_nanousd, jsonb_array_length(r.entries) AS entries, r.accepted, r.basis,
       (SELECT coalesce(sum(abs((e ->> 'amount_nanousd')::bigint)), 0)::bigint FROM jsonb_array_elements(r.entries) AS e) AS moved_nanousd,
       EXISTS (SELECT FROM jsonb_array_elements(r.entries) AS e WHERE e -> 'settlement' ? 'booked_before_nanousd') AS changes_booked,
       (SELECT count(*) FROM drift AS d WHERE d.reconciliation_id = r.id) AS findings, r.feedback, r.digest, p.at AS posted_at,
       p.by AS posted_by
FROM reconciliations AS r LEFT JOIN reconciliation_postings AS p ON p.reconciliation_id = r.id
WHERE (%(id)s::text IS NULL OR r.id = %(id)s) AND (%(key)s::text IS NULL OR r.key = %(key)s)
  AND (%(month)s::date IS NULL OR r.month = %(month)s) AND (%(vendor)s::text IS NULL OR r.vendor = %(vendor)s)
ORDER BY r.number DESC
LIMIT 500
