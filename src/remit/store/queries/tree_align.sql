-- Brings a grant's buckets in line with its limits.
SELECT align_grant(%(node)s, %(over)s, %(lines)s::jsonb)
