-- The limits of those of these blocks that are known here, used or not.
SELECT id, limits FROM capability_blocks WHERE id = ANY (%(blocks)s)
