-- Lines of a statement after a number.
SELECT number, line, starts_at, ends_at, vendor, meter, account, project, key_id, region, resource, model, tier, is_batch,
       context_window, quantity, unit, stated_quantity, stated_unit, requests, amount_nanousd, amount_text, list_amount_nanousd, currency,
       charge, is_correction, invoice_id, invoice_issuer, native_id, text, tags
FROM statement_lines
WHERE statement_id = %(id)s AND number > %(after)s
ORDER BY number
LIMIT %(count)s
