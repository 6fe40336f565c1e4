-- Keeps what a comparison found.
INSERT INTO drift (reconciliation_id, number, cause, outcome, confidence, first_day, last_day, about, amount_nanousd, evidence)
SELECT %(id)s, d.number, d.cause, d.outcome, d.confidence, d.first_day, d.last_day, d.about, d.amount_nanousd, d.evidence
FROM jsonb_to_recordset(%(drift)s::jsonb) AS d (number integer, cause text, outcome text, confidence text, first_day date,
                                                last_day date, about jsonb, amount_nanousd bigint, evidence jsonb)
