-- What a comparison found, in its order.
SELECT cause, outcome, confidence, first_day, last_day, about, amount_nanousd, evidence
FROM drift WHERE reconciliation_id = %(id)s ORDER BY number
