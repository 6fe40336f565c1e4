-- Entries are read along the index of their numbers, a part at a time: without statistics, as after many were added, the whole
-- rest would be sorted for each part.
SET enable_sort = off; SET enable_seqscan = off; SET enable_bitmapscan = off
