-- Blocks that were revoked and are not over by themselves, and what else running calls are to be cut for. A day longer, as blocks
-- themselves are kept: the clock of a gateway that has read this may be set back.
SELECT kind, subject, cut_streams FROM revocations
WHERE (kind = 'block' AND keep_until >= %(now)s - interval '1 day')
   OR (cut_streams AND revoked_at > %(now)s - interval '1 day')
