-- On whose word a month is closed in this transaction, as JSON; see migration 0035.
SELECT set_config('remit.closing', %(terms)s, true)
