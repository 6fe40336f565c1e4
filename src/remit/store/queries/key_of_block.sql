-- The access key that a block without a row of its own belongs to; of a key that was rotated, any. The id as in chain.py.
SELECT id, grant_id, payload FROM access_keys
WHERE sha256('rmt1-id'::bytea || '\x00'::bytea || decode(repeat('00', 32), 'hex') || payload) = decode(%(id)s, 'hex')
LIMIT 1
