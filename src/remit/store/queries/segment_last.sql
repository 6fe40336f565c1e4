-- The last number that is in a segment, 0 where there is none.
SELECT coalesce(max(last_seq), 0) FROM segments
