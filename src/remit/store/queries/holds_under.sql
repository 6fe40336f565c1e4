-- Calls under way that draw on any of these grants or blocks: how many, and the sum of their ceilings.
SELECT count(*), coalesce(sum(ceiling_nanousd), 0)::bigint FROM holds
WHERE state = 'open' AND (entry -> 'node_ids' ?| %(grants)s::text[] OR entry -> 'block_ids' ?| %(blocks)s::text[])
