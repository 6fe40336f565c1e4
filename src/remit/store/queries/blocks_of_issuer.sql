-- Blocks below an issuer key that may have calls under way, all or those issued before an instant.
SELECT id FROM capability_blocks
WHERE kid = %(kid)s AND (%(issued_before)s::timestamptz IS NULL OR issued_at < %(issued_before)s)
