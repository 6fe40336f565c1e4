-- Books what belongs to no call, once for each key; see migration 0024.
SELECT post_entries(%(now)s, %(entries)s::jsonb, %(by)s, %(key)s)
