-- How many entries are not sealed, and since when the oldest of them is there.
SELECT count(*), min(recorded_at) FROM entries WHERE seq > coalesce((SELECT max(last_seq) FROM ledger_seals), 0)
