-- What monitoring asks of the books at this moment. (name, labels, value); every part reads few rows. What lags is said in numbers of
-- entries, of which those of transactions that were rolled back are missing: nobody counts a million rows for a page.
WITH newest AS MATERIALIZED (
    -- What is in the archive alone counts as well: nothing newer may be here.
    SELECT greatest((SELECT max(seq) FROM entries), (SELECT max(last_seq) FROM segments), 0) AS seq
)
SELECT 'holds_open' AS name, '{}'::jsonb AS labels, count(*) AS value FROM holds WHERE state = 'open'
UNION ALL
SELECT 'holds_overdue', '{}', count(*) FROM holds WHERE state = 'open' AND expires_at < %(now)s::timestamptz - interval '1 minute'
UNION ALL
SELECT 'entries_seq', '{}', seq FROM newest
UNION ALL
SELECT 'spend_nanousd', jsonb_build_object('vendor', coalesce(s.dims ->> 'vendor', ''), 'class', coalesce(s.dims ->> 'class', '')),
       sum(d.amount_nanousd)::bigint
FROM rollup_days AS d JOIN rollup_series AS s ON s.id = d.series_id
WHERE d.billing_month = date_trunc('month', %(now)s::timestamptz AT TIME ZONE 'UTC')::date
GROUP BY s.dims ->> 'vendor', s.dims ->> 'class'
UNION ALL
SELECT 'suspense_nanousd', jsonb_build_object('vendor', coalesce(s.vendor, '')), s.amount_nanousd
FROM open_suspense(date_trunc('month', %(now)s::timestamptz AT TIME ZONE 'UTC')::date) AS s
UNION ALL
SELECT 'rollup_lag_entries', '{}', (SELECT seq FROM newest) - r.seq FROM rollup_state AS r
UNION ALL
SELECT 'sealed_entries', '{}', coalesce(max(size), 0) FROM ledger_seals
UNION ALL
SELECT 'unsealed_entries', '{}', (SELECT seq FROM newest) - coalesce((SELECT max(last_seq) FROM ledger_seals), 0)
UNION ALL
SELECT 'tree_revision', '{}', revision FROM tree_state
UNION ALL
SELECT 'gateways', '{}', count(*) FROM gateways WHERE seen_at > clock_timestamp() - interval '30 seconds'
UNION ALL
SELECT 'tree_revision_lag', '{}', coalesce(max(t.revision - g.acknowledged_revision), 0)
FROM gateways AS g, tree_state AS t WHERE g.seen_at > clock_timestamp() - interval '30 seconds'
UNION ALL
SELECT 'tickets_open', jsonb_build_object('kind', kind), count(*) FROM tickets WHERE state = 'open' GROUP BY kind
UNION ALL
SELECT 'jobs', jsonb_build_object('task', task_name, 'state', CASE status WHEN 'todo' THEN
           CASE WHEN scheduled_at > clock_timestamp() THEN 'scheduled' ELSE 'due' END WHEN 'doing' THEN 'running' ELSE 'failed' END), count(*)
FROM remit_jobs.procrastinate_jobs WHERE status IN ('todo', 'doing', 'failed')
GROUP BY 2
UNION ALL
SELECT 'deliveries', jsonb_build_object('channel', channel, 'state', state), count(*)
FROM deliveries WHERE state <> 'delivered' GROUP BY channel, state
UNION ALL
SELECT 'sink_lag_entries', jsonb_build_object('sink', s.name), (SELECT seq FROM newest) - s.seq FROM sinks AS s
UNION ALL
SELECT 'sink_failed_attempts', jsonb_build_object('sink', name), attempts FROM sinks
UNION ALL
SELECT 'sink_letters', jsonb_build_object('sink', s.name),
       (SELECT count(*) FROM sink_letters AS l WHERE l.sink = s.name AND l.state <> 'delivered')
FROM sinks AS s
UNION ALL
SELECT 'grant_spend_nanousd', jsonb_build_object('grant', coalesce(s.dims ->> 'grant', '')), sum(d.amount_nanousd)::bigint
FROM rollup_days AS d JOIN rollup_series AS s ON s.id = d.series_id
WHERE %(grants)s AND d.billing_month = date_trunc('month', %(now)s::timestamptz AT TIME ZONE 'UTC')::date
GROUP BY s.dims ->> 'grant'
ORDER BY 1, 2
