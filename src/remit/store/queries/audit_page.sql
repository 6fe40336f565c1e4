-- Rows of the audit: the first after a number, or else the newest; oldest first. Every condition that is null admits all.
WITH found AS (
    SELECT a.seq, a.at, a.recorded_at, a.actor, a.operation, a.reason, a.request_key, a.source, a.outcome, a.subject_kind,
           a.subject_id, a.grant_id, a.path, a.before, a.after, a.problems
    FROM audit AS a
    WHERE (%(after)s::bigint IS NULL OR a.seq > %(after)s)
      AND (%(seq)s::bigint IS NULL OR a.seq = %(seq)s)
      AND (%(nodes)s::text[] IS NULL OR a.grant_id = ANY (%(nodes)s))
      AND (%(actor)s::text IS NULL OR lower(a.actor) = lower(%(actor)s))
      AND (%(subject)s::text IS NULL OR a.subject_id = %(subject)s)
      AND (%(outcome)s::text IS NULL OR a.outcome = %(outcome)s)
      AND (%(since)s::timestamptz IS NULL OR a.at >= %(since)s)
      AND (%(until)s::timestamptz IS NULL OR a.at < %(until)s)
    ORDER BY CASE WHEN %(after)s::bigint IS NULL THEN -a.seq ELSE a.seq END
    LIMIT %(count)s
)
SELECT * FROM found ORDER BY seq
