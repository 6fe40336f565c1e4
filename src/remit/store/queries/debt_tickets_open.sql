-- Keys of open tickets about debts.
SELECT dedupe_key FROM tickets WHERE state = 'open' AND kind = 'debt' AND dedupe_key IS NOT NULL
