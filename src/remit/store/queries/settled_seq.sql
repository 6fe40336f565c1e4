-- The number up to which the ledger is complete; in a transaction of its own. Where nothing is new, nobody is made to wait.
SELECT CASE WHEN r.seq < (SELECT coalesce(max(e.seq), 0) FROM entries AS e) THEN settled_seq() ELSE r.seq END FROM rollup_state AS r
