-- How the ledger has a vendor's month, as of one instant: see remit.reconcile.comparison.Standing. (owed, charged for the month's use, [[grant,
-- cause, amount]] of what was booked besides calls, comparisons that were booked, [[about, amount]] of what was booked although nothing
-- explains it: what the last comparison accepted, of those that were booked and left nothing of that kind open)
SELECT coalesce((SELECT b.amount_nanousd FROM booked_in(%(month)s) AS b WHERE b.vendor = %(vendor)s), 0),
       used_in(%(month)s, %(vendor)s),
       coalesce((SELECT jsonb_agg(jsonb_build_array(b.grant_id, b.cause, b.amount_nanousd)) FROM (
                     SELECT e.grant_id, e.settlement ->> 'cause' AS cause, sum(e.amount_nanousd)::bigint AS amount_nanousd
                     FROM entries AS e
                     WHERE e.vendor = %(vendor)s AND e.kind = 'adjustment' AND e.debtor_id IS NULL
                       AND e.held_at >= %(since)s AND e.held_at < %(until)s
                     GROUP BY 1, 2) AS b), '[]'),
       ARRAY (SELECT p.reconciliation_id FROM reconciliation_postings AS p JOIN reconciliations AS r ON r.id = p.reconciliation_id
              WHERE r.month = %(month)s AND r.vendor = %(vendor)s ORDER BY 1),
       coalesce((SELECT jsonb_agg(jsonb_build_array(d.about, d.amount_nanousd)) FROM drift AS d
                 WHERE d.cause = 'unexplained' AND d.reconciliation_id = (
                     SELECT r.id FROM reconciliations AS r JOIN reconciliation_postings AS p ON p.reconciliation_id = r.id
                     WHERE r.month = %(month)s AND r.vendor = %(vendor)s
                       AND NOT EXISTS (SELECT FROM drift AS o WHERE o.reconciliation_id = r.id
                                       AND o.cause = 'unexplained' AND o.outcome = 'look')
                     ORDER BY p.at DESC, r.id DESC LIMIT 1)), '[]')
