-- The number up to which entries are in the sums that are kept.
SELECT seq FROM rollup_state
