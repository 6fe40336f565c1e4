-- Vendors of whom something was booked, or a statement is kept that nobody withdrew.
SELECT dims ->> 'vendor' AS vendor FROM rollup_series WHERE dims ->> 'vendor' <> ''
UNION SELECT f.vendor FROM entry_facts AS f, rollup_state AS r WHERE f.seq > r.seq AND f.vendor <> ''
UNION SELECT s.vendor FROM statements AS s WHERE NOT EXISTS (SELECT FROM statement_withdrawals AS w WHERE w.statement_id = s.id)
