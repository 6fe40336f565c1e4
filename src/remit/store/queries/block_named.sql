-- At most two of the blocks that are known here and whose ids begin with these hex digits.
SELECT id FROM capability_blocks WHERE id >= %(digits)s AND id < %(digits)s || 'g' ORDER BY id LIMIT 2
