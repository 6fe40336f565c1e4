-- Blocks of capabilities whose time is not up, of these grants, parents before children: what was charged to each, blocks below
-- it included, and what running calls hold at most.
WITH charged AS (
    SELECT b.id, sum(s.amount_nanousd)::bigint AS spent_nanousd, sum(s.requests)::bigint AS requests
    FROM (
        SELECT e.block_ids, e.amount_nanousd, e.requests FROM entries AS e
        WHERE e.grant_id = ANY (%(grant_ids)s) AND is_spend(e.kind)
        UNION ALL
        SELECT d.block_ids, d.amount_nanousd, d.requests FROM dropped_sums AS d WHERE d.grant_id = ANY (%(grant_ids)s)
    ) AS s, unnest(s.block_ids) AS b (id)
    GROUP BY b.id
), running AS (
    SELECT b.id, sum(h.ceiling_nanousd)::bigint AS held_nanousd
    FROM holds AS h, jsonb_array_elements_text(h.entry -> 'block_ids') AS b (id)
    WHERE h.state = 'open' AND h.grant_id = ANY (%(grant_ids)s)
    GROUP BY b.id
), dead AS (
    -- A capability dies with the last access key that stands for it. The id of its block is a hash over the block's content.
    SELECT encode(sha256('rmt1-id\000'::bytea || decode(repeat('00', 32), 'hex') || payload), 'hex') AS id
    FROM access_keys
    WHERE grant_id = ANY (%(grant_ids)s)
    GROUP BY payload
    HAVING bool_and(revoked_at IS NOT NULL)
)
SELECT c.id, c.parent_id, c.grant_id, c.issued_by, c.purpose, c.not_after, c.max_children, c.limits, c.first_held_at,
       coalesce(s.spent_nanousd, 0) AS spent_nanousd, coalesce(s.requests, 0) AS requests,
       coalesce(r.held_nanousd, 0) AS held_nanousd,
       EXISTS (SELECT FROM revocations AS v WHERE v.kind = 'block' AND v.subject = c.id)
       OR EXISTS (SELECT FROM dead AS d WHERE d.id = c.id)
       OR EXISTS (SELECT FROM issuer_keys AS k WHERE k.kid = c.kid AND (k.status = 'revoked' OR c.issued_at < k.min_issued_at))
       AS revoked
FROM capability_blocks AS c LEFT JOIN charged AS s USING (id) LEFT JOIN running AS r USING (id)
WHERE c.grant_id = ANY (%(grant_ids)s) AND c.not_after > %(now)s
ORDER BY c.not_after DESC, c.id
