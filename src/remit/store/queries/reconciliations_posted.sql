-- Comparisons of a vendor's month that were booked, the newest first, with the sources of what each read and nobody withdrew. (id, when it was booked,
-- whether it had bills, its sources, who booked it, what its entries are without their signs)
SELECT r.id, p.at, jsonb_array_length(r.bills) > 0,
       ARRAY (SELECT DISTINCT s.source FROM statements AS s WHERE s.id = ANY (r.statements)
                AND NOT EXISTS (SELECT FROM statement_withdrawals AS w WHERE w.statement_id = s.id) ORDER BY 1), p.by,
       (SELECT coalesce(sum(abs((e ->> 'amount_nanousd')::bigint)), 0)::bigint FROM jsonb_array_elements(r.entries) AS e)
FROM reconciliations AS r JOIN reconciliation_postings AS p ON p.reconciliation_id = r.id
WHERE r.month = %(month)s AND r.vendor = %(vendor)s
ORDER BY p.at DESC, r.id DESC
