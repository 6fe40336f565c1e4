-- Every refusal of a grant is counted, by code and day; and whether the prices of what a grant calls have moved.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- A refusal counts as `refused_<code>`, without a word of the caller's or the holder's name: a handful of rows per grant and
-- day. What is for the security people keeps rows of its own, which name the holder; their feed lists no `refused_` rows.
ALTER TABLE security_attempts DROP CONSTRAINT security_attempts_kind_check;
ALTER TABLE security_attempts ADD CONSTRAINT security_attempts_kind_check CHECK (
    kind IN ('class_mismatch', 'tag_conflict', 'capability_revoked', 'surface_not_allowed', 'stopped')
    OR kind IN ('refused_capability_expired', 'refused_capability_revoked', 'refused_proof_required',
                'refused_grant_inactive', 'refused_grant_expired', 'refused_surface_not_allowed',
                'refused_model_not_allowed', 'refused_tags_missing', 'refused_class_mismatch', 'refused_policy_forbidden',
                'refused_shape_exceeded', 'refused_unpriced', 'refused_rate_limited', 'refused_paced',
                'refused_grant_exhausted')
        AND subject IN ('', '(others)') AND tag IN ('', '(others)') AND value IN ('', '(others)'));

-- Whether a model costs a grant over a tenth more per token of one kind than it did: among its first and its last 50 calls
-- of 90 days, the later half of those of one vendor, model, tier and kind against the earlier one. The least price of each
-- half counts, as long inputs may cost more at all times. Two ends of an index are read, however many calls there were.
CREATE FUNCTION prices_moved(p_grant_id text, p_now timestamptz) RETURNS boolean
LANGUAGE sql STABLE COST 10000 SET search_path = remit, pg_temp AS $$
    WITH ends AS MATERIALIZED (
        (SELECT seq, held_at, vendor, coalesce(model_served, model_requested) AS model, tier, price_lines FROM entries
         WHERE grant_id = p_grant_id AND held_at > p_now - interval '90 days' AND held_at <= p_now
           AND kind = 'usage' AND jsonb_typeof(price_lines) = 'array'
         ORDER BY held_at LIMIT 50)
        UNION
        (SELECT seq, held_at, vendor, coalesce(model_served, model_requested) AS model, tier, price_lines FROM entries
         WHERE grant_id = p_grant_id AND held_at > p_now - interval '90 days' AND held_at <= p_now
           AND kind = 'usage' AND jsonb_typeof(price_lines) = 'array'
         ORDER BY held_at DESC LIMIT 50)
    ), priced AS (
        SELECT e.vendor, e.model, e.tier, l ->> 'kind' AS kind, (l ->> 'price_nanousd_per_million')::numeric AS price,
               ntile(2) OVER (PARTITION BY e.vendor, e.model, e.tier, l ->> 'kind' ORDER BY e.held_at, e.seq) AS half
        FROM ends AS e CROSS JOIN LATERAL jsonb_array_elements(e.price_lines) AS l
    )
    SELECT coalesce(bool_or(moved), false)
    FROM (SELECT min(price) FILTER (WHERE half = 2) * 10 > min(price) FILTER (WHERE half = 1) * 11 AS moved
          FROM priced GROUP BY vendor, model, tier, kind) AS kinds
$$;

GRANT EXECUTE ON FUNCTION prices_moved(text, timestamptz) TO remit_authority;

RESET ROLE;
