-- Until the transaction ends, its process may do other work for long.
SET LOCAL idle_in_transaction_session_timeout = '30min'
