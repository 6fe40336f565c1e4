-- The ledger's Merkle tree: hashes of entries in tiles, which entries they are of, and what was signed.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- Writers of entries wait until all of this is done: first, as everybody takes this lock before any other.
SELECT lock_tree(true);

-- Whoever has the tree alone knows every entry below the highest number: no writer of entries is under way. Each one takes the
-- tree before anything else; this keeps one that forgets from being missed. For each statement, as this comes before the first
-- number is drawn, and a trigger for each row would come after.
CREATE FUNCTION share_tree() RETURNS trigger
LANGUAGE plpgsql SET search_path = remit, pg_temp AS $$
BEGIN
    PERFORM lock_tree(false);
    RETURN NULL;
END
$$;
CREATE TRIGGER entries_share_tree BEFORE INSERT ON entries FOR EACH STATEMENT EXECUTE FUNCTION share_tree();

-- What has no leaf cannot be sealed, nor can anything after it: so it cannot be booked. That is a number that is no integer of 64
-- bits, and what is nested deeper than anybody's parser is sure to follow.
CREATE FUNCTION cannot_be_sealed(p_value jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT p_value @? '$.** ? (@.type() == "number" && (@ > 9223372036854775807 || @ < -9223372036854775808 || @.floor() != @))'
        OR p_value @? '$.**{32}'
$$;
ALTER TABLE entries ADD CONSTRAINT entries_can_be_sealed CHECK (NOT coalesce(
    cannot_be_sealed(usage) OR cannot_be_sealed(price_lines) OR cannot_be_sealed(tags) OR cannot_be_sealed(tag_conflicts)
    OR cannot_be_sealed(periods) OR cannot_be_sealed(settlement), false)) NOT VALID;

-- 256 hashes a tile; the last one of a level is partial and only grows. Hashes cannot be compressed, so nobody tries. What is beyond
-- 249 of them is in a column of its own: so much fits exactly into a page of large values, and a little more would waste a third.
CREATE TABLE ledger_tiles (
    level smallint NOT NULL CHECK (level BETWEEN 0 AND 7),
    number bigint NOT NULL CHECK (number >= 0),
    hashes bytea STORAGE EXTERNAL NOT NULL CHECK (length(hashes) BETWEEN 32 AND 7968 AND length(hashes) % 32 = 0),
    rest bytea NOT NULL CHECK (length(rest) <= 224 AND length(rest) % 32 = 0),
    PRIMARY KEY (level, number),
    CONSTRAINT filled_in_order CHECK (length(rest) = 0 OR length(hashes) = 7968)
);

-- Which entries were sealed together: those with these numbers are the leaves from first_index up to size. Numbers may be
-- missing in between (of transactions that were rolled back), so a number is no index.
CREATE TABLE ledger_seals (
    first_index bigint PRIMARY KEY CHECK (first_index >= 0),
    size bigint NOT NULL UNIQUE CHECK (size > first_index),
    first_seq bigint NOT NULL UNIQUE,
    last_seq bigint NOT NULL UNIQUE CHECK (last_seq - first_seq >= size - first_index - 1),
    sealed_at timestamptz NOT NULL
);

-- What was signed and published. The database has a copy: what counts is the one outside it.
CREATE TABLE ledger_checkpoints (
    origin text NOT NULL,
    size bigint NOT NULL CHECK (size > 0),
    root bytea NOT NULL CHECK (length(root) = 32),
    note text NOT NULL CHECK (length(note) <= 4096),
    signed_at timestamptz NOT NULL,
    PRIMARY KEY (origin, size)
);

-- Two sealers can never fork the tree: a seal begins where the last one ends.
CREATE FUNCTION continue_seals() RETURNS trigger
LANGUAGE plpgsql SET search_path = remit, pg_temp AS $$
DECLARE
    v_last ledger_seals;
BEGIN
    SELECT * INTO v_last FROM ledger_seals ORDER BY first_index DESC LIMIT 1;
    IF NEW.first_index <> coalesce(v_last.size, 0) OR NEW.first_seq <= v_last.last_seq THEN
        RAISE EXCEPTION 'a seal of entries from % on does not follow the one that ends at %', NEW.first_index,
            coalesce(v_last.size, 0) USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER ledger_seals_continue BEFORE INSERT ON ledger_seals FOR EACH ROW EXECUTE FUNCTION continue_seals();

CREATE FUNCTION grow_tiles_only() RETURNS trigger
LANGUAGE plpgsql SET search_path = remit, pg_temp AS $$
BEGIN
    IF (NEW.level, NEW.number) <> (OLD.level, OLD.number)
       OR substring(NEW.hashes FOR length(OLD.hashes)) <> OLD.hashes
       OR substring(NEW.rest FOR length(OLD.rest)) <> OLD.rest THEN
        RAISE EXCEPTION 'tiles only grow: no hash in one is ever changed'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER ledger_tiles_grow BEFORE UPDATE ON ledger_tiles FOR EACH ROW EXECUTE FUNCTION grow_tiles_only();
CREATE TRIGGER ledger_tiles_stay BEFORE DELETE OR TRUNCATE ON ledger_tiles
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();
CREATE TRIGGER ledger_seals_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_seals
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();
CREATE TRIGGER ledger_checkpoints_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();

GRANT SELECT ON ledger_tiles, ledger_seals, ledger_checkpoints TO remit_authority, remit_reader;
GRANT INSERT ON ledger_tiles, ledger_seals, ledger_checkpoints TO remit_authority;
GRANT UPDATE (hashes, rest) ON ledger_tiles TO remit_authority;

RESET ROLE;
