-- The newest entries, or the first ones after a sequence number; oldest first either way.
SELECT to_jsonb(t) - 'entry_hash' || jsonb_build_object('entry_hash', encode(t.entry_hash, 'hex'))
FROM (
    SELECT * FROM entries
    WHERE %(after)s::bigint IS NULL OR seq > %(after)s
    ORDER BY CASE WHEN %(after)s::bigint IS NULL THEN -seq ELSE seq END
    LIMIT %(count)s
) AS t
ORDER BY t.seq
