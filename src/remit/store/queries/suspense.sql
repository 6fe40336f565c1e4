-- Suspense entries that no correction has resolved yet.
SELECT e.hold_id, e.request_id, e.operation_id, e.amount_nanousd, e.tokens, e.model_requested, e.held_at, e.vendor, e.tier
FROM entries AS e
WHERE e.kind = 'suspense' AND NOT EXISTS (SELECT FROM entries AS c WHERE c.corrects = e.id)
ORDER BY e.seq
