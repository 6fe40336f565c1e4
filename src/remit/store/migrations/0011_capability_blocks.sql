-- What is known of the blocks of capabilities, and which proofs of possession were used.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- A block that was issued here, or that a hold was taken on. A holder makes blocks offline, so one that was never used is
-- unknown. A row stays until a day after the block's time is up: its parent's living children are counted here, and its
-- buckets live as long as it does. `kid` and `issued_at` are those of the chain's first block.
CREATE TABLE capability_blocks (
    id text PRIMARY KEY CHECK (id ~ '^[0-9a-f]{64}$'),
    parent_id text REFERENCES capability_blocks (id),
    grant_id text NOT NULL REFERENCES grants (id),
    kid text NOT NULL,
    issued_at timestamptz NOT NULL,
    not_after timestamptz NOT NULL,
    max_children bigint NOT NULL CHECK (max_children >= 0),
    limits jsonb NOT NULL DEFAULT '[]',
    issued_by text,
    purpose text,
    first_held_at timestamptz,
    recorded_at timestamptz NOT NULL,
    CONSTRAINT holders_blocks_have_no_issuer CHECK (parent_id IS NULL OR (issued_by IS NULL AND purpose IS NULL))
);
CREATE INDEX capability_blocks_children ON capability_blocks (parent_id, not_after) WHERE parent_id IS NOT NULL;
CREATE INDEX capability_blocks_grant ON capability_blocks (grant_id, not_after);
CREATE INDEX capability_blocks_over ON capability_blocks (not_after);

-- A proof of possession is good for one hold. `id` is a hash of the key and the proof's own id.
CREATE TABLE used_proofs (
    id bytea PRIMARY KEY CHECK (length(id) = 32),
    expires_at timestamptz NOT NULL
);
CREATE INDEX used_proofs_over ON used_proofs (expires_at);

GRANT SELECT ON capability_blocks TO remit_authority, remit_reader;
GRANT INSERT ON capability_blocks TO remit_authority;

RESET ROLE;
