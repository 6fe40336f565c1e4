-- Thresholds: one page for each that was passed. Calls that are settled together can pass several at once; which pages a
-- person gets must not depend on how calls were gathered.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

CREATE OR REPLACE FUNCTION page_thresholds(p_nodes text[], p_dimensions text[], p_kinds text[], p_starts timestamptz[],
                                           p_now timestamptz) RETURNS void
LANGUAGE sql SET search_path = remit, pg_temp AS $$
    WITH passed AS (
        SELECT b.*, t.percent
        FROM unnest(p_nodes, p_dimensions, p_kinds, p_starts) AS n (node, dimension, kind, starts)
        JOIN buckets AS b ON (b.node_id, b.dimension, b.period_kind, b.period_start)
                             = (n.node, n.dimension, n.kind, n.starts),
             unnest(b.page_percents) AS t (percent)
        WHERE b.target > 0 AND t.percent > b.paged_percent
          AND (b.posted + b.overage + b.overdraft_posted)::numeric * 100 >= b.target::numeric * t.percent
    ), marked AS (
        UPDATE buckets AS b SET paged_percent = p.percent
        FROM (SELECT node_id, dimension, period_kind, period_start, max(percent) AS percent FROM passed
              GROUP BY node_id, dimension, period_kind, period_start) AS p
        WHERE (b.node_id, b.dimension, b.period_kind, b.period_start)
              = (p.node_id, p.dimension, p.period_kind, p.period_start)
    )
    INSERT INTO notifications (kind, audience, node_id, dimension, threshold, period_kind, period_start, body,
                               created_at, next_attempt_at)
    SELECT 'threshold', CASE g.class WHEN 'production' THEN 'on_call' ELSE 'owner' END,
           g.id, p.dimension, p.percent, p.period_kind, p.period_start,
           jsonb_build_object('path', g.path, 'owner', g.owner, 'class', g.class, 'limit', p.target,
                              'posted', p.posted + p.overage + p.overdraft_posted, 'ends', p.period_end),
           p_now, p_now
    FROM passed AS p JOIN grants AS g ON g.id = p.node_id
    ORDER BY p.node_id, p.dimension, p.period_kind, p.percent
    ON CONFLICT DO NOTHING
$$;

RESET ROLE;
