-- What a grant's callers were refused in the last 90 days, as far as it was worth a notification.
SELECT n.kind, count(*)::integer, max(n.created_at)
FROM notifications AS n
WHERE n.node_id = %(grant_id)s AND n.kind IN ('cap_reached', 'class_mismatch', 'overdraft', 'forecast_exhaustion')
  AND n.created_at >= %(now)s::timestamptz - interval '90 days'
GROUP BY n.kind
ORDER BY n.kind
