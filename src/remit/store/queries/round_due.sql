-- Whether a round of the queue may have anything to tell, and anything to decide, without reading the tree. Never false where
-- there is something; what is true here is looked at closely by whoever asks. `near` is as in renewals/windows.py: a window
-- opens at its usual instant (the jitter of the grant's id included), or twice as early where a usd limit will not last or
-- prices have moved. The latter is asked last: only of grants within twice their window of which nobody was told of it (as step
-- -1) or asked.
WITH near AS MATERIALIZED (
    SELECT g.id, g.expires_at, g.body #>> '{renewal,auto_tier}' IS NOT NULL AS renews_itself,
           'renew:' || g.id || ':' || to_char(g.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS')
           || CASE WHEN g.expires_at = date_trunc('second', g.expires_at) THEN 'Z'
                   ELSE to_char(g.expires_at AT TIME ZONE 'UTC', '.US"Z"') END AS renewal_key,
           least((g.expires_at - g.starts_at) / 3,
                 make_interval(secs => 86400.0 * (g.body #>> '{renewal,lead_time_days}')::integer)) AS window_length,
           sha256(convert_to(g.id, 'UTF8')) AS digest
    FROM grants AS g
    WHERE g.status = 'active' AND g.starts_at <= %(now)s AND g.expires_at > %(now)s
      AND g.expires_at - make_interval(secs => 2 * 86400.0 * (g.body #>> '{renewal,lead_time_days}')::integer) <= %(now)s
), quiet AS MATERIALIZED (
    SELECT n.*, t.steps, (SELECT count(*) FROM unnest(%(remind)s::interval[]) AS step
                          WHERE n.expires_at - %(now)s <= step) AS step
    FROM near AS n
    CROSS JOIN LATERAL (SELECT coalesce(array_agg(t.threshold), '{}') AS steps FROM notifications AS t
                        WHERE t.kind = 'renewal_due' AND t.node_id = n.id AND t.period_start = n.expires_at) AS t
    WHERE NOT EXISTS (SELECT FROM tickets AS k
                      WHERE k.state = 'open' AND k.dedupe_key = n.renewal_key)
), untold AS MATERIALIZED (
    SELECT n.renews_itself
    FROM quiet AS n
    WHERE n.step <> ALL (n.steps) AND (n.expires_at - n.window_length
           + n.window_length / 10000 * (((get_byte(n.digest, 0)::bigint << 24) + (get_byte(n.digest, 1) << 16)
                                         + (get_byte(n.digest, 2) << 8) + get_byte(n.digest, 3)) %% 1000)::integer
           <= %(now)s::timestamptz + interval '1 second'
           OR EXISTS (SELECT FROM buckets AS b
                      WHERE b.node_id = n.id AND b.dimension = 'usd' AND b.period_start <= %(now)s
                        AND b.period_end > %(now)s AND b.target > 0
                        AND 2 * (b.posted + b.overage + b.overdraft_posted) >= b.target
                        AND (b.posted + b.overage + b.overdraft_posted)
                            * extract(epoch FROM b.period_end - b.period_start)
                            > b.target * extract(epoch FROM %(now)s - b.period_start)))
       OR (-1 <> ALL (n.steps) AND n.expires_at - 2 * n.window_length <= %(now)s::timestamptz + interval '1 second'
           AND prices_moved(n.id, %(now)s::timestamptz))
)
SELECT EXISTS (SELECT FROM untold)
           OR EXISTS (SELECT FROM grants AS g
                      WHERE g.status NOT IN ('revoked', 'requested') AND g.expires_at <= %(now)s
                        AND g.expires_at >= %(now)s::timestamptz - interval '7 days'
                        AND NOT EXISTS (SELECT FROM notifications AS t
                                        WHERE t.kind = 'lapsed' AND t.node_id = g.id AND t.period_start = g.expires_at))
           AS tells,
       EXISTS (SELECT FROM untold AS u WHERE u.renews_itself)
           OR EXISTS (SELECT FROM tickets AS k WHERE k.state = 'open' AND least(k.due_at, k.expires_at) <= %(now)s)
           OR EXISTS (SELECT FROM break_glasses AS b WHERE b.ended_at IS NULL AND b.ends_at <= %(now)s)
           OR EXISTS (SELECT FROM grants AS g
                      WHERE g.class = 'production' AND g.status IN ('active', 'suspended') AND g.expires_at > %(now)s
                        AND g.expires_at <= %(now)s::timestamptz + interval '10 minutes'
                        AND NOT EXISTS (SELECT FROM graces AS c WHERE c.grant_id = g.id AND c.until = g.expires_at))
           OR EXISTS (SELECT FROM people AS p JOIN grants AS g ON lower(g.owner) = p.name
                      WHERE p.status = 'left' AND g.status IN ('active', 'suspended') AND g.expires_at > %(now)s
                        AND NOT EXISTS (SELECT FROM grants AS a
                                        WHERE starts_with(g.path, a.path || '/')
                                          AND (a.status NOT IN ('active', 'suspended') OR a.expires_at <= %(now)s))
                        AND NOT EXISTS (SELECT FROM tickets AS k WHERE k.dedupe_key = 'ownerless:' || g.id || ':' || p.name))
           AS decides
