-- How the ledger has a vendor's month, as of one instant: see remit.reconcile.comparison.Standing. (owed, charged for the month's use, [[grant,
-- cause, amount]] of what was booked besides calls, comparisons that were booked)
SELECT coalesce((SELECT b.amount_nanousd FROM booked_in(%(month)s) AS b WHERE b.vendor = %(vendor)s), 0),
       used_in(%(month)s, %(vendor)s),
       coalesce((SELECT jsonb_agg(jsonb_build_array(b.grant_id, b.cause, b.amount_nanousd)) FROM (
                     SELECT e.grant_id, e.settlement ->> 'cause' AS cause, sum(e.amount_nanousd)::bigint AS amount_nanousd
                     FROM entries AS e
                     WHERE e.vendor = %(vendor)s AND e.kind = 'adjustment' AND e.debtor_id IS NULL
                       AND e.held_at >= %(since)s AND e.held_at < %(until)s
                     GROUP BY 1, 2) AS b), '[]'),
       ARRAY (SELECT p.reconciliation_id FROM reconciliation_postings AS p JOIN reconciliations AS r ON r.id = p.reconciliation_id
              WHERE r.month = %(month)s AND r.vendor = %(vendor)s ORDER BY 1)
