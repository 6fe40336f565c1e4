-- Blocks that were revoked and are not over by themselves, and what else running calls are to be cut for.
SELECT kind, subject, cut_streams FROM revocations
WHERE (kind = 'block' AND keep_until >= %(now)s) OR (cut_streams AND revoked_at > %(now)s - interval '1 day')
