-- Stores a new ticket.
INSERT INTO tickets (id, kind, grant_id, path, requester, assignees, approved_by, needed, tier, level, state, opened_at, due_at,
                     expires_at, decided_at, decided_by, decision_reason, reason, effect, evidence, dedupe_key, revision)
VALUES (%(id)s, %(kind)s, %(grant_id)s, %(path)s, %(requester)s, %(assignees)s, %(approved_by)s, %(needed)s, %(tier)s,
        %(level)s, %(state)s, %(opened_at)s, %(due_at)s, %(expires_at)s, %(decided_at)s, %(decided_by)s,
        %(decision_reason)s, %(reason)s, %(effect)s, %(evidence)s, %(dedupe_key)s, %(revision)s)
