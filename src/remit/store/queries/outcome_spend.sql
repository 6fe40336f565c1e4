-- Spend that outcomes are about, summed by kind of outcome, group, the outcomes it belongs to, and whether it was begun at or after
-- `since` (before it, from `from` on, it is looked for because its outcomes were decided later).
-- What a vendor charged otherwise, and what was moved between grants, counts as in the ledger's own reports; it has tags and no operation.
-- by: names of dimensions or tags, as in ledger_report. nodes: only entries that one of these grants was charged for, which are
-- those of the grants below: a grant never moves.
WITH joins AS MATERIALIZED (
    SELECT DISTINCT o.id AS outcome, o.kind, o.grant_id, j.how, j.name, j.value, j.since, j.until
    FROM outcome_joins AS j JOIN outcomes AS o ON o.id = j.outcome_id
    WHERE %(kind)s::text IS NULL OR o.kind = %(kind)s
), windows AS MATERIALIZED (
    -- Of their own: they are looked through for every entry, and are few.
    SELECT * FROM joins WHERE how = 'window'
), spend AS MATERIALIZED (
    SELECT e.seq, e.operation_id, e.trace_id, e.tags, e.node_ids, e.held_at, e.amount_nanousd,
           CASE WHEN e.kind = 'suspense' AND NOT EXISTS (SELECT FROM entries AS c WHERE c.corrects = e.id)
                THEN e.amount_nanousd ELSE 0 END AS suspense_nanousd,
           %(since)s::timestamptz IS NULL OR e.held_at >= %(since)s AS is_inside,
           ARRAY (
               SELECT CASE d.name WHEN 'day' THEN to_char(e.held_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
                                  WHEN 'month' THEN to_char(e.held_at AT TIME ZONE 'UTC', 'YYYY-MM')
                                  WHEN 'billing_month' THEN to_char(coalesce(e.billing_month, e.held_at AT TIME ZONE 'UTC'), 'YYYY-MM')
                                  ELSE x.dims ->> d.name END
               FROM unnest(%(by)s::text[]) WITH ORDINALITY AS d (name, position)
               ORDER BY d.position
           ) AS group_values
    FROM entries AS e
    CROSS JOIN LATERAL dims_of(e.tags, e.class, e.owner, e.kind, e.grant_path, e.vendor, e.deployment,
                               coalesce(e.model_served, e.model_requested), e.tier) AS x (dims)
    WHERE is_charged(e.kind, e.debtor_id)
      AND (%(from)s::timestamptz IS NULL OR e.held_at >= %(from)s)
      AND (%(until)s::timestamptz IS NULL OR e.held_at < %(until)s)
      AND (%(nodes)s::text[] IS NULL OR e.grant_id = ANY (ARRAY (
          SELECT g.id FROM grants AS g JOIN grants AS n ON n.id = ANY (%(nodes)s)
                                                       AND (g.id = n.id OR starts_with(g.path, n.path || '/')))))
      AND EXISTS (SELECT FROM joins)
), matched AS (
    SELECT s.seq, j.kind, j.outcome
    FROM spend AS s JOIN joins AS j ON j.how = 'operation' AND j.value = s.operation_id AND j.grant_id = ANY (s.node_ids)
    UNION
    SELECT s.seq, j.kind, j.outcome
    FROM spend AS s JOIN joins AS j ON j.how = 'trace' AND j.value = s.trace_id AND j.grant_id = ANY (s.node_ids)
    UNION
    SELECT s.seq, j.kind, j.outcome
    FROM spend AS s CROSS JOIN LATERAL jsonb_each_text(s.tags) AS t
    JOIN joins AS j ON j.how = 'tag' AND j.name = t.key AND j.value = t.value AND j.grant_id = ANY (s.node_ids)
    UNION
    SELECT s.seq, j.kind, j.outcome
    FROM spend AS s
    JOIN windows AS j ON s.held_at >= j.since AND s.held_at < j.until AND j.grant_id = ANY (s.node_ids)
), owned AS (
    SELECT seq, kind, array_agg(outcome ORDER BY outcome) AS outcomes FROM matched GROUP BY seq, kind
)
SELECT o.kind, s.group_values, o.outcomes, s.is_inside, sum(s.amount_nanousd)::bigint, sum(s.suspense_nanousd)::bigint
FROM owned AS o JOIN spend AS s ON s.seq = o.seq
GROUP BY o.kind, s.group_values, o.outcomes, s.is_inside
ORDER BY o.kind, s.group_values, o.outcomes, s.is_inside
