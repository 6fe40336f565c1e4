-- The newest checkpoint, of one origin or of any.
SELECT origin, size, root, note, signed_at FROM ledger_checkpoints
WHERE %(origin)s::text IS NULL OR origin = %(origin)s
ORDER BY size DESC, signed_at DESC LIMIT 1
