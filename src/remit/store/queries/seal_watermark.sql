-- The highest number of an entry, NULL where there is none. Asked by who has the tree alone: none below it can appear any more.
SELECT max(seq) FROM entries
