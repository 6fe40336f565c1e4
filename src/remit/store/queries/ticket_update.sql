-- The next revision of an open ticket. What was asked stays as it is; so does a ticket that has ended. Who asks is another
-- where somebody has taken over what they left behind.
UPDATE tickets
SET requester = %(requester)s, assignees = %(assignees)s, approved_by = %(approved_by)s, tier = %(tier)s, level = %(level)s, state = %(state)s,
    due_at = %(due_at)s, decided_at = %(decided_at)s, decided_by = %(decided_by)s,
    decision_reason = %(decision_reason)s, evidence = %(evidence)s, revision = %(revision)s
WHERE id = %(id)s AND revision = %(revision)s - 1 AND state = 'open'
