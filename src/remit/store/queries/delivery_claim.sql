-- Takes one due delivery of a channel and puts it off; two workers never take the same one. What was said about a ticket
-- first is delivered first.
WITH taken AS (
    UPDATE deliveries AS d
    SET attempts = d.attempts + 1, next_attempt_at = %(until)s
    FROM (
        SELECT e.notification_id, e.channel
        FROM deliveries AS e
        WHERE e.channel = %(channel)s AND e.state = 'due' AND e.next_attempt_at <= %(now)s
          AND NOT EXISTS (
              SELECT FROM deliveries AS earlier
              WHERE earlier.channel = e.channel AND earlier.ticket_id = e.ticket_id AND e.ticket_id <> ''
                AND earlier.state = 'due' AND earlier.notification_id < e.notification_id)
        ORDER BY e.next_attempt_at, e.notification_id
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE d.notification_id = due.notification_id AND d.channel = due.channel
    RETURNING d.notification_id, d.channel, d.attempts, d.remote_ref
)
SELECT n.id, n.kind, n.audience, n.recipients, n.node_id, g.path, n.dimension, n.threshold, n.body, n.created_at, n.ticket_id,
       taken.attempts, taken.remote_ref AS so_far, w.remote_ref AS thread,
       CASE WHEN t.id IS NOT NULL THEN jsonb_build_object(
           'id', t.id, 'state', t.state, 'kind', t.kind, 'path', t.path, 'requester', t.requester,
           'assignees', t.assignees, 'due_at', t.due_at, 'reason', t.reason, 'decided_by', t.decided_by,
           'decision_reason', t.decision_reason, 'evidence', t.evidence) END AS ticket
FROM taken
JOIN notifications AS n ON n.id = taken.notification_id
LEFT JOIN grants AS g ON g.id = n.node_id
LEFT JOIN tickets AS t ON t.id = n.ticket_id
LEFT JOIN ticket_threads AS w ON w.channel = taken.channel AND w.ticket_id = n.ticket_id
