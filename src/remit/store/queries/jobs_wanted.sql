-- Work there is to do at this moment by our clock, whether or not a job was deferred for it: pages and trips are written by
-- functions that move money, which defer nothing, and time may have been moved. (task, of)
SELECT 'expire' AS task, '' AS of
WHERE EXISTS (SELECT FROM grants WHERE status = 'active' AND expires_at <= %(now)s)
UNION ALL
SELECT 'escalate', ''
WHERE EXISTS (SELECT FROM tickets WHERE state = 'open' AND least(due_at, expires_at) <= %(now)s)
   OR EXISTS (SELECT FROM break_glasses WHERE ended_at IS NULL AND ends_at <= %(now)s)
   OR EXISTS (SELECT FROM trips AS t WHERE NOT EXISTS (SELECT FROM tickets AS k WHERE k.dedupe_key = 'trip:' || t.id))
   OR EXISTS (SELECT FROM notifications AS n
              WHERE n.kind = 'overdraft' AND n.created_at > %(now)s::timestamptz - interval '1 minute')
UNION ALL
SELECT 'deliver', ''
WHERE %(delivers)s AND EXISTS (SELECT FROM notifications WHERE delivered_at IS NULL AND next_attempt_at <= %(now)s)
UNION ALL
SELECT 'sync', c.name
FROM unnest(%(channels)s::text[]) AS c (name) LEFT JOIN channels AS k ON k.name = c.name
WHERE k.name IS NULL
   OR EXISTS (SELECT FROM deliveries AS d WHERE d.channel = c.name AND d.state = 'due' AND d.next_attempt_at <= %(now)s)
   OR EXISTS (SELECT FROM notifications AS n
              WHERE n.created_at >= greatest(k.since, %(now)s::timestamptz - interval '1 minute')
                AND NOT EXISTS (SELECT FROM deliveries AS d WHERE d.notification_id = n.id AND d.channel = c.name))
UNION ALL
SELECT 'feed', c.name
FROM unnest(%(sinks)s::text[]) AS c (name) LEFT JOIN sinks AS s ON s.name = c.name
WHERE s.name IS NULL
   OR s.next_attempt_at <= %(now)s
      AND (EXISTS (SELECT FROM rollup_state AS r WHERE r.seq > s.seq)
           OR EXISTS (SELECT FROM sink_letters AS l WHERE l.sink = s.name AND l.state = 'due'))
