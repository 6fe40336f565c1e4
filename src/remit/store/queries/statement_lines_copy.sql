-- The lines of a statement, in the order of the raw file.
COPY statement_lines (statement_id, number, line, starts_at, ends_at, vendor, meter, account, project, key_id, region, resource, model,
                      tier, is_batch, context_window, quantity, unit, stated_quantity, stated_unit, requests, amount_nanousd,
                      amount_text, list_amount_nanousd, currency, charge, is_correction, invoice_id, invoice_issuer, native_id,
                      text, tags) FROM STDIN
