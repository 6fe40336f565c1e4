-- The newest entries, oldest first. nodes: only entries that one of these grants was charged for.
SELECT to_jsonb(t) - 'entry_hash' || jsonb_build_object('entry_hash', encode(t.entry_hash, 'hex'))
FROM (
    SELECT * FROM entries
    WHERE %(nodes)s::text[] IS NULL OR node_ids && %(nodes)s::text[]
    ORDER BY seq DESC
    LIMIT %(count)s
) AS t
ORDER BY t.seq
