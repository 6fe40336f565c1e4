-- Which state of the tree this transaction sees.
SELECT revision FROM tree_state
