-- Every event of some outcomes, as far as their state follows from it: of those ids, and of those of a kind that were asserted at or
-- below nodes and of which something happened in the span.
SELECT o.id, o.kind, v.seq, v.status, v.occurred_at, v.value_nanousd, v.weight_ppm
FROM outcomes AS o JOIN outcome_events AS v ON v.outcome_id = o.id
WHERE o.id = ANY (%(ids)s::text[])
   OR ((%(kind)s::text IS NULL OR o.kind = %(kind)s)
       AND o.id IN (SELECT w.outcome_id FROM outcome_events AS w
                    WHERE (%(since)s::timestamptz IS NULL OR w.occurred_at >= %(since)s)
                      AND (%(until)s::timestamptz IS NULL OR w.occurred_at < %(until)s))
       AND (%(nodes)s::text[] IS NULL OR o.grant_id IN (
           SELECT g.id FROM grants AS g JOIN grants AS n ON n.id = ANY (%(nodes)s)
                                                        AND (g.id = n.id OR starts_with(g.path, n.path || '/')))))
