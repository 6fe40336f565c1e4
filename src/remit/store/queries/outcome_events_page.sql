-- Events after a number, oldest first, with what they join: [[how, name, value, since, until], ...].
-- nodes: only of these grants and those below; id: only the event of that source and id.
SELECT v.seq, v.outcome_id, v.source, v.event_id, o.kind, o.subject, v.status, o.grant_id, g.path, v.occurred_at,
       v.value_nanousd, v.evidence_url, v.weight_ppm, v.asserted_by, v.asserted_with, v.recorded_at,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(j.how, j.name, j.value, j.since, j.until)), '[]')
        FROM outcome_joins AS j WHERE j.event_seq = v.seq) AS joins
FROM outcome_events AS v JOIN outcomes AS o ON o.id = v.outcome_id JOIN grants AS g ON g.id = o.grant_id
WHERE v.seq > %(after)s
  AND (%(kind)s::text IS NULL OR o.kind = %(kind)s)
  AND (%(subject)s::text IS NULL OR o.subject = %(subject)s)
  AND (%(source)s::text IS NULL OR v.source = %(source)s)
  AND (%(event_id)s::text IS NULL OR v.event_id = %(event_id)s)
  AND (%(since)s::timestamptz IS NULL OR v.occurred_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR v.occurred_at < %(until)s)
  AND (%(nodes)s::text[] IS NULL OR EXISTS (
      SELECT FROM grants AS n WHERE n.id = ANY (%(nodes)s) AND (g.id = n.id OR starts_with(g.path, n.path || '/'))))
ORDER BY v.seq
LIMIT %(count)s
