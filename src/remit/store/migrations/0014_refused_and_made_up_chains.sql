-- What refused holds and chains that no gateway verified leave behind.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- A hold that was not taken leaves no bucket of its chain's blocks: whoever may hand a capability on makes blocks for nothing,
-- as many as they like, and the buckets of those would stay for ever, because upkeep goes by the blocks that are known.
ALTER FUNCTION take_holds(bigint, timestamptz, jsonb) RENAME TO decide_holds;
REVOKE EXECUTE ON FUNCTION decide_holds(bigint, timestamptz, jsonb) FROM remit_gateway, remit_authority;

-- Removes the buckets of blocks that are not known where nothing was ever charged to them: opened anew they are the same. A
-- grant's bucket is not touched, nor one from before blocks were recorded that is in use.
CREATE FUNCTION drop_buckets_of_strangers(p_blocks text[]) RETURNS void
LANGUAGE sql SET search_path = remit, pg_temp AS $$
    DELETE FROM buckets AS b
    WHERE b.node_id = ANY (p_blocks) AND b.node_id ~ '^[0-9a-f]{64}$'
      AND (b.posted, b.held, b.overage, b.overdraft_posted, b.overdraft_held) = (0, 0, 0, 0, 0)
      AND NOT EXISTS (SELECT FROM capability_blocks AS c WHERE c.id = b.node_id)
$$;

-- As in 0013, and buckets that were opened for nothing are gone again. Nobody else is at them: one batch at a time names
-- blocks that are not known.
CREATE FUNCTION take_holds(p_revision bigint, p_now timestamptz, p_holds jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_answer jsonb := decide_holds(p_revision, p_now, p_holds);
    v_blocks text[];
BEGIN
    IF jsonb_path_exists(v_answer, '$.results[*] ? (@.taken == false)') THEN
        SELECT array_agg(DISTINCT b ->> 'id') INTO v_blocks
        FROM jsonb_array_elements(p_holds) AS h, jsonb_array_elements(h #> '{chain,blocks}') AS b;
        IF v_blocks IS NOT NULL THEN
            PERFORM drop_buckets_of_strangers(v_blocks);
        END IF;
    END IF;
    RETURN v_answer;
END
$$;

GRANT EXECUTE ON FUNCTION take_holds(bigint, timestamptz, jsonb) TO remit_gateway, remit_authority;

-- A gateway that is broken, or broken into, may name a block that outlives its parent. Upkeep removes the parent all the same;
-- a chain that was verified ends from its last block, and no parent goes before its children.
ALTER TABLE capability_blocks
    DROP CONSTRAINT capability_blocks_parent_id_fkey,
    ADD FOREIGN KEY (parent_id) REFERENCES capability_blocks (id) ON DELETE SET NULL;

-- Those that were left behind so far. Takers of holds wait: none of them is at such a bucket meanwhile.
SELECT lock_tree(true);
SELECT drop_buckets_of_strangers(ARRAY (SELECT DISTINCT node_id FROM buckets WHERE node_id ~ '^[0-9a-f]{64}$'));

RESET ROLE;
