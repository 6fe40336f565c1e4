-- Those of some names that no vocabulary governs and no charge has as a tag. nodes: of what these grants were charged for. Series are
-- what the sums know, each looked at once; entries are read where they are in no sum yet (folded).
SELECT n.name
FROM unnest(%(names)s::text[]) AS n (name)
WHERE NOT EXISTS (SELECT FROM tag_names AS t WHERE t.name = n.name AND NOT t.is_retired)
  AND NOT EXISTS (SELECT FROM rollup_series AS s
                  WHERE s.dims ->> n.name IS NOT NULL AND (%(nodes)s::text[] IS NULL OR s.node_ids && %(nodes)s::text[]))
  AND NOT EXISTS (SELECT FROM entry_facts AS f
                  WHERE f.seq > %(folded)s AND f.tags ->> n.name IS NOT NULL
                    AND (%(nodes)s::text[] IS NULL OR f.node_ids && %(nodes)s::text[]))
