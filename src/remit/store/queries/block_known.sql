-- A block that was issued here or held on, and every block above it, from itself to the first.
WITH RECURSIVE chain AS (
    SELECT id, parent_id, grant_id, not_after, 0 AS height FROM capability_blocks WHERE id = %(id)s
    UNION ALL
    SELECT b.id, b.parent_id, b.grant_id, b.not_after, c.height + 1
    FROM chain AS c JOIN capability_blocks AS b ON b.id = c.parent_id
)
SELECT id, grant_id, not_after FROM chain ORDER BY height
