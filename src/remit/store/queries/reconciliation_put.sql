-- Keeps a comparison, unless one was kept under the key.
INSERT INTO reconciliations (id, month, vendor, made_at, made_by, statements, bills, ledger_nanousd, billed_nanousd, found_nanousd,
                             unexplained_nanousd, proposed_nanousd, entries, feedback, digest, key, accepted, basis, asked)
VALUES (%(id)s, %(month)s, %(vendor)s, %(made_at)s, %(made_by)s, %(statements)s, %(bills)s::jsonb, %(ledger)s, %(billed)s,
        %(found)s, %(unexplained)s, %(proposed)s, %(entries)s::jsonb, %(feedback)s::jsonb, %(digest)s, %(key)s, %(accepted)s, %(basis)s,
        %(asked)s::jsonb)
ON CONFLICT (key) DO NOTHING
RETURNING id
