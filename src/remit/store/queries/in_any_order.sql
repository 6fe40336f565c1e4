RESET enable_sort; RESET enable_seqscan; RESET enable_bitmapscan
