-- What each hold came to in the ledger, corrections included.
SELECT e.hold_id, sum(e.amount_nanousd)::bigint AS amount_nanousd
FROM entries AS e
WHERE is_spend(e.kind)
GROUP BY e.hold_id
