-- Adds the next entries to the sums; see migration 0028.
SELECT fold_entries(%(until)s, %(at_most)s)
