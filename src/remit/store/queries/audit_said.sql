-- Who writes in this transaction; empty where nobody said so.
SELECT coalesce(current_setting('remit.author', true), '')
