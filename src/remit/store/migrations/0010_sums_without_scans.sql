-- Sums over the ledger by what its indexes are for. They are made while a limit changes, which keeps everybody waiting.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- Rare kinds, asked for whenever a bucket is made anew; costs the entry of an ordinary call nothing.
CREATE INDEX entries_beyond_limits ON entries (held_at) WHERE kind IN ('overage', 'overdraft', 'repayment');

-- As in 0005. A grant was charged for what was spent below it, and a grant never moves: its entries are those of its subtree,
-- by their own index. Only a block, which is no grant, is looked for in every entry of the period.
CREATE OR REPLACE FUNCTION ledger_sum(p_node text, p_dimension text, p_starts timestamptz, p_ends timestamptz)
RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = remit, pg_temp AS $$
DECLARE
    v_path text := (SELECT path FROM grants WHERE id = p_node);
    v_below text[];
BEGIN
    IF v_path IS NULL THEN
        RETURN (SELECT coalesce(sum(CASE p_dimension WHEN 'usd' THEN e.amount_nanousd
                                                     WHEN 'tokens' THEN e.tokens ELSE e.requests END), 0)::bigint
                FROM entries AS e
                WHERE e.held_at >= p_starts AND e.held_at < p_ends AND is_spend(e.kind) AND p_node = ANY (e.block_ids));
    END IF;
    v_below := ARRAY (SELECT id FROM grants WHERE id = p_node OR starts_with(path, v_path || '/'));
    RETURN (SELECT coalesce(sum(CASE p_dimension WHEN 'usd' THEN e.amount_nanousd
                                                 WHEN 'tokens' THEN e.tokens ELSE e.requests END), 0)::bigint
            FROM entries AS e
            WHERE e.grant_id = ANY (v_below) AND e.held_at >= p_starts AND e.held_at < p_ends AND is_spend(e.kind)
              AND p_node = ANY (e.node_ids));
END
$$;

RESET ROLE;
