-- The newest entries, or the first ones after a sequence number; oldest first either way.
-- nodes: only entries that one of these grants was charged for.
SELECT to_jsonb(t) - 'entry_hash' || jsonb_build_object('entry_hash', encode(t.entry_hash, 'hex'))
FROM (
    SELECT * FROM entries
    WHERE (%(after)s::bigint IS NULL OR seq > %(after)s)
      AND (%(nodes)s::text[] IS NULL OR node_ids && %(nodes)s::text[])
    ORDER BY CASE WHEN %(after)s::bigint IS NULL THEN -seq ELSE seq END
    LIMIT %(count)s
) AS t
ORDER BY t.seq
