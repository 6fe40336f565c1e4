-- Ends an issuer key for good, or moves its cut-off later.
UPDATE issuer_keys
SET status = CASE WHEN %(issued_before)s::timestamptz IS NULL THEN 'revoked' ELSE status END,
    min_issued_at = greatest(min_issued_at, %(issued_before)s::timestamptz)
WHERE kid = %(kid)s
