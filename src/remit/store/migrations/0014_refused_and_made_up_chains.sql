-- What refused holds and chains that no gateway verified leave behind.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- Takers of holds wait until all of this is done: first, as everybody takes this lock before any other.
SELECT lock_tree(true);

-- A hold that was not taken leaves no bucket of its chain's blocks: whoever may hand a capability on makes blocks for nothing,
-- as many as they like, and the buckets of those would stay for ever, because upkeep goes by the blocks that are known.
ALTER FUNCTION take_holds(bigint, timestamptz, jsonb) RENAME TO decide_holds;
REVOKE EXECUTE ON FUNCTION decide_holds(bigint, timestamptz, jsonb) FROM remit_gateway, remit_authority;

-- Removes buckets of unknown blocks that this very transaction opened and charged nothing to. Nobody else can have seen them:
-- whoever wants the same one waits for this transaction, and then opens it.
CREATE FUNCTION drop_buckets_of_strangers(p_blocks text[]) RETURNS void
LANGUAGE sql SET search_path = remit, pg_temp AS $$
    DELETE FROM buckets AS b
    WHERE b.node_id = ANY (p_blocks) AND b.xmin = pg_current_xact_id()::xid
      AND (b.posted, b.held) = (0, 0) AND NOT EXISTS (SELECT FROM capability_blocks AS c WHERE c.id = b.node_id)
$$;

-- As in 0013, and buckets of blocks that were opened for nothing are gone again.
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

-- Those that were left behind so far.
DELETE FROM buckets AS b
WHERE b.node_id ~ '^[0-9a-f]{64}$' AND (b.posted, b.held, b.overage) = (0, 0, 0)
  AND NOT EXISTS (SELECT FROM capability_blocks AS c WHERE c.id = b.node_id);

RESET ROLE;
