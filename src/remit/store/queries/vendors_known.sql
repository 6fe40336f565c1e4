-- Vendors of whom something was booked, or a statement is kept.
SELECT dims ->> 'vendor' AS vendor FROM rollup_series WHERE dims ->> 'vendor' <> ''
UNION SELECT f.vendor FROM entry_facts AS f, rollup_state AS r WHERE f.seq > r.seq AND f.vendor <> ''
UNION SELECT vendor FROM statements
