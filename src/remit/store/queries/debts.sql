-- The accounts of debts. made: what was lent, less what evidence showed was not needed. since: when the oldest part of what is
-- owed was lent (what was settled counts for the oldest debts), and where that part's period began. nodes: only debtors below
-- one of these grants, or these. settled: also accounts on which nothing is owed.
WITH accounts AS MATERIALIZED (
    SELECT debtor_id, debt_period, sum(amount_nanousd) AS outstanding
    FROM entries
    WHERE debtor_id IS NOT NULL AND (%(nodes)s::text[] IS NULL OR node_ids && %(nodes)s::text[])
    GROUP BY debtor_id, debt_period
    HAVING sum(amount_nanousd) <> 0 OR %(settled)s
)
SELECT a.debtor_id, g.path, g.owner, g.class, a.debt_period, m.made, m.repaid, m.forgiven, a.outstanding::bigint,
       o.held_at AS since, coalesce(o.period_start, o.held_at) AS period_start
FROM accounts AS a JOIN grants AS g ON g.id = a.debtor_id,
LATERAL (
    SELECT coalesce(sum(e.amount_nanousd) FILTER (WHERE e.settlement IS NULL), 0)::bigint AS made,
           coalesce(-sum(e.amount_nanousd) FILTER (WHERE e.settlement IS NOT NULL AND e.kind = 'repayment'), 0)::bigint
               AS repaid,
           coalesce(-sum(e.amount_nanousd) FILTER (WHERE e.kind = 'adjustment'), 0)::bigint AS forgiven
    FROM entries AS e
    WHERE (e.debtor_id, e.debt_period) = (a.debtor_id, a.debt_period)
) AS m LEFT JOIN LATERAL (
    SELECT l.held_at, (SELECT (p ->> 'start')::timestamptz FROM jsonb_array_elements(l.periods) AS p
                       WHERE p ->> 'node' = a.debtor_id AND p ->> 'kind' = a.debt_period LIMIT 1) AS period_start
    FROM (SELECT e.held_at, e.seq, e.periods, sum(e.amount_nanousd) OVER (ORDER BY e.held_at) AS lent
          FROM entries AS e
          WHERE (e.debtor_id, e.debt_period) = (a.debtor_id, a.debt_period) AND e.settlement IS NULL) AS l
    WHERE a.outstanding > 0 AND l.lent > m.repaid + m.forgiven
    ORDER BY l.held_at, l.seq
    LIMIT 1
) AS o ON true
ORDER BY g.path, a.debt_period
