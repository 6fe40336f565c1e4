-- All issuer keys but one stop signing.
UPDATE issuer_keys SET status = 'verify_only' WHERE status = 'signing' AND kid <> %(kid)s
