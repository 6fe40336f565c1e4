-- Who writes in this transaction, as JSON; see `append_audit`.
SELECT set_config('remit.author', %(said)s, true)
