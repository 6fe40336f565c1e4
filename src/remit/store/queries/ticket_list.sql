-- Tickets, the first due first among open ones, then the newest decision. after: those behind this one in that order.
SELECT t.id, t.kind, t.grant_id, t.path, t.requester, t.assignees, t.approved_by, t.needed, t.tier, t.level, t.state,
       t.opened_at, t.due_at, t.expires_at, t.decided_at, t.decided_by, t.decision_reason, t.reason, t.effect, t.evidence,
       t.dedupe_key, t.revision
FROM tickets AS t
WHERE (%(id)s::text IS NULL OR t.id = %(id)s)
  AND (%(state)s::text IS NULL OR t.state = %(state)s)
  AND (%(kind)s::text IS NULL OR t.kind = %(kind)s)
  AND (%(dedupe_key)s::text IS NULL OR t.dedupe_key = %(dedupe_key)s)
  AND (%(person)s::text IS NULL OR lower(t.requester) = lower(%(person)s)
       OR lower(%(person)s) = ANY (SELECT lower(a) FROM unnest(t.assignees) AS a))
  AND (%(assignee)s::text IS NULL OR lower(%(assignee)s) = ANY (SELECT lower(a) FROM unnest(t.assignees) AS a))
  AND (%(nodes)s::text[] IS NULL OR t.grant_id = ANY (%(nodes)s)
       OR lower(t.requester) = lower(%(viewer)s)
       OR lower(%(viewer)s) = ANY (SELECT lower(a) FROM unnest(t.assignees) AS a))
  AND (%(within)s::text IS NULL OR t.path = %(within)s OR starts_with(t.path, %(within)s || '/'))
  AND (%(after)s::text IS NULL OR t.id > %(after)s)
ORDER BY CASE WHEN %(by_id)s THEN NULL ELSE t.due_at END, t.id
LIMIT %(count)s
