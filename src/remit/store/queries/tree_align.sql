-- Brings a grant's buckets in line with its limits.
SELECT align_buckets(%(lines)s::jsonb)
