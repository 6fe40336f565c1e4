-- The ledger by months, and its way into the archive: entries leave this database by whole months, after they were written into
-- sealed segments and read back; nothing else takes one out.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;
SET LOCAL timezone = 'UTC';

-- Writers of entries wait until all of this is done: first, as everybody takes this lock before any other.
SELECT lock_tree(true);

-- Partitions ----------------------------------------------------------------------------------------------------

-- The partitions of entries but for the one that takes what no other is for, and what became of them. A partition was summed when its
-- sums are in archived_sums, of entries up to summed_seq; the sums count from when it was dropped.
CREATE TABLE ledger_partitions (
    name text PRIMARY KEY,
    begins timestamptz NOT NULL,
    ends timestamptz NOT NULL CHECK (ends > begins),
    summed_seq bigint,
    entries bigint,
    amount_nanousd numeric,
    dropped_at timestamptz,
    CONSTRAINT dropped_when_summed CHECK (num_nulls(summed_seq, entries, amount_nanousd) IN (0, 3)
                                          AND (dropped_at IS NULL OR summed_seq IS NOT NULL))
);

-- Settled once for each key, in all partitions: an index of a partitioned table is unique only together with what it is partitioned by.
CREATE TABLE settlement_keys (key text PRIMARY KEY, seq bigint NOT NULL);
INSERT INTO settlement_keys SELECT settlement ->> 'key', seq FROM entries WHERE settlement IS NOT NULL;
CREATE FUNCTION settle_key_once() RETURNS trigger
LANGUAGE plpgsql SET search_path = remit, pg_temp AS $$
BEGIN
    INSERT INTO settlement_keys (key, seq) VALUES (NEW.settlement ->> 'key', NEW.seq) ON CONFLICT DO NOTHING;
    -- The same number: an entry that stays when the rest of its partition goes.
    IF NOT FOUND AND NOT EXISTS (SELECT FROM settlement_keys WHERE (key, seq) = (NEW.settlement ->> 'key', NEW.seq)) THEN
        RAISE EXCEPTION 'the key % was settled before', NEW.settlement ->> 'key' USING ERRCODE = 'unique_violation';
    END IF;
    RETURN NEW;
END
$$;

-- What is named in a row's type or in a view keeps to a table through its renaming: all of it is made again for the new table, as it
-- is found. Rows are not copied: the present table becomes the partition of everything up to the end of its last month.
DO $do$
DECLARE
    v_views jsonb := (
        WITH RECURSIVE above (oid) AS (
            SELECT 'entries'::regclass::oid
            UNION
            SELECT r.ev_class FROM above AS a
            JOIN pg_depend AS d ON (d.refclassid, d.refobjid) = ('pg_class'::regclass, a.oid) AND d.classid = 'pg_rewrite'::regclass
            JOIN pg_rewrite AS r ON r.oid = d.objid
        )
        SELECT coalesce(jsonb_agg(jsonb_build_object('name', c.oid::regclass, 'query', pg_get_viewdef(c.oid), 'rights', (
            SELECT jsonb_agg(format('GRANT %s ON %s TO %s', a.privilege_type, c.oid::regclass, a.grantee::regrole))
            FROM aclexplode(c.relacl) AS a WHERE a.grantee <> c.relowner)) ORDER BY c.oid), '[]')
        FROM above AS a JOIN pg_class AS c ON c.oid = a.oid WHERE c.relkind = 'v');
    v_functions jsonb := (
        SELECT coalesce(jsonb_agg(jsonb_build_object('name', p.oid::regprocedure, 'made', pg_get_functiondef(p.oid), 'rights', (
            SELECT jsonb_agg(format('GRANT EXECUTE ON FUNCTION %s TO %s', p.oid::regprocedure, a.grantee::regrole))
            FROM aclexplode(p.proacl) AS a WHERE a.grantee NOT IN (p.proowner, 0)))), '[]')
        FROM pg_proc AS p WHERE 'entries'::regtype = ANY (p.proargtypes::oid[]) OR p.prorettype = 'entries'::regtype);
    v_rights jsonb := (
        SELECT jsonb_agg(format('GRANT %s ON entries TO %s', a.privilege_type, a.grantee::regrole))
        FROM pg_class AS c, aclexplode(c.relacl) AS a WHERE c.oid = 'entries'::regclass AND a.grantee <> c.relowner);
    v_checks jsonb := (
        SELECT jsonb_agg(format('ALTER TABLE entries ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)) ORDER BY conname)
        FROM pg_constraint WHERE conrelid = 'entries'::regclass AND contype = 'c');
    v_triggers jsonb := (
        SELECT jsonb_agg(jsonb_build_object('name', tgname, 'made', pg_get_triggerdef(oid)) ORDER BY tgname)
        FROM pg_trigger WHERE tgrelid = 'entries'::regclass AND NOT tgisinternal);
    v_indexes jsonb := (
        SELECT jsonb_agg(jsonb_build_object('name', c.relname, 'made', pg_get_indexdef(c.oid), 'unique', i.indisunique)
                         ORDER BY c.relname)
        FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE i.indrelid = 'entries'::regclass);
    v_next bigint := (SELECT last_value + is_called::integer FROM entries_seq_seq);
    v_end timestamptz := (SELECT date_trunc('month', greatest(max(held_at), now())) + interval '1 month' FROM entries);
    v_is_empty boolean := NOT EXISTS (SELECT FROM entries);
    v_known text[] := '{entries_pkey,entries_id_key,entries_settle_once,entries_overage_once,entries_overdraft_once,'
                      'entries_correct_once,entries_settle_a_debt_once}';
    v_one jsonb;
BEGIN
    IF EXISTS (SELECT FROM jsonb_array_elements(v_indexes) AS v WHERE (v -> 'unique')::boolean AND v ->> 'name' <> ALL (v_known)) THEN
        RAISE EXCEPTION 'a unique index of entries is unknown: what it guards cannot be guarded in partitions';
    END IF;
    FOR v_one IN SELECT v FROM jsonb_array_elements(v_views) WITH ORDINALITY AS v (v, n) ORDER BY n DESC LOOP
        EXECUTE format('DROP VIEW %s', v_one ->> 'name');
    END LOOP;
    FOR v_one IN SELECT jsonb_array_elements(v_functions) LOOP
        EXECUTE format('DROP FUNCTION %s', v_one ->> 'name');
    END LOOP;

    ALTER TABLE entries RENAME TO entries_before;
    ALTER TABLE entries_before ALTER COLUMN seq DROP IDENTITY, DROP CONSTRAINT entries_pkey, DROP CONSTRAINT entries_id_key;
    FOR v_one IN SELECT jsonb_array_elements(v_triggers) LOOP
        IF v_one ->> 'name' <> 'entries_append_only' THEN
            EXECUTE format('DROP TRIGGER %I ON entries_before', v_one ->> 'name');
        END IF;
    END LOOP;
    CREATE TABLE entries (LIKE entries_before INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING COMPRESSION)
        PARTITION BY RANGE (held_at);
    EXECUTE format('ALTER TABLE entries ALTER seq ADD GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME entries_seq_seq START %s)', v_next);
    FOR v_one IN SELECT jsonb_array_elements(v_checks) LOOP
        EXECUTE v_one #>> '{}';
    END LOOP;
    FOR v_one IN SELECT jsonb_array_elements(v_indexes) LOOP
        IF (v_one -> 'unique')::boolean THEN
            EXECUTE format('DROP INDEX IF EXISTS %I', v_one ->> 'name');
            CONTINUE;
        END IF;
        EXECUTE format('ALTER INDEX %I RENAME TO %I', v_one ->> 'name', replace(v_one ->> 'name', 'entries_', 'entries_before_'));
        EXECUTE v_one ->> 'made';
    END LOOP;
    -- All entries of a hold have the instant at which it was taken, and so has what corrects one of them: unique in their partition,
    -- they are unique everywhere. Of settlements settlement_keys sees to it.
    ALTER TABLE entries ADD PRIMARY KEY (seq, held_at), ADD UNIQUE (id, held_at);
    CREATE UNIQUE INDEX entries_settle_once ON entries (hold_id, held_at) WHERE kind IN ('usage', 'suspense');
    CREATE UNIQUE INDEX entries_overage_once ON entries (hold_id, held_at) WHERE kind = 'overage';
    CREATE UNIQUE INDEX entries_overdraft_once ON entries (hold_id, debtor_id, debt_period, held_at) WHERE kind = 'overdraft';
    CREATE UNIQUE INDEX entries_correct_once ON entries (corrects, held_at) WHERE corrects IS NOT NULL;
    CREATE INDEX entries_settlement ON entries ((settlement ->> 'key')) WHERE settlement IS NOT NULL;

    FOR v_one IN SELECT jsonb_array_elements(v_functions) LOOP
        EXECUTE v_one ->> 'made';
    END LOOP;
    FOR v_one IN SELECT jsonb_array_elements(v_triggers) LOOP
        EXECUTE v_one ->> 'made';
    END LOOP;
    CREATE TRIGGER entries_settle_key_once BEFORE INSERT ON entries
        FOR EACH ROW WHEN (NEW.settlement IS NOT NULL) EXECUTE FUNCTION settle_key_once();
    IF v_is_empty THEN
        DROP TABLE entries_before;
    ELSE
        REVOKE ALL ON entries_before FROM remit_authority, remit_reader;
        EXECUTE format('ALTER TABLE entries ATTACH PARTITION entries_before FOR VALUES FROM (MINVALUE) TO (%L)', v_end);
        INSERT INTO ledger_partitions (name, begins, ends) VALUES ('entries_before', '-infinity', v_end);
    END IF;
    FOR v_one IN SELECT v FROM jsonb_array_elements(v_views) AS v LOOP
        EXECUTE format('CREATE VIEW %s AS %s', v_one ->> 'name', v_one ->> 'query');
    END LOOP;
    FOR v_one IN SELECT r FROM jsonb_array_elements(v_views || v_functions || jsonb_build_object('rights', v_rights)) AS o,
                               jsonb_array_elements(nullif(o -> 'rights', 'null')) AS r LOOP
        EXECUTE v_one #>> '{}';
    END LOOP;
END
$do$;

-- What no month's partition is for: what is found out about months that have left, and what an upkeep that stood still made none for.
CREATE TABLE entries_default PARTITION OF entries DEFAULT;
CREATE TRIGGER entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entries_default
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();

-- Makes the partitions of the month of p_now and of so many after it that there are none for; answers their names. None is made of a
-- month that has entries elsewhere already. Nobody is kept waiting but who writes into the default, and this not for longer than that.
CREATE FUNCTION ensure_partitions(p_now timestamptz, p_months integer) RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' SET lock_timeout = '2s' AS $$
DECLARE
    v_begins timestamptz;
    v_ends timestamptz;
    v_name text;
    v_made text[] = '{}';
BEGIN
    IF p_months NOT BETWEEN 0 AND 24 OR p_months IS NULL THEN
        RAISE EXCEPTION 'partitions are made of at most 24 months' USING ERRCODE = 'check_violation';
    END IF;
    PERFORM pg_advisory_xact_lock(7237528);
    FOR v_month IN 0..p_months LOOP
        v_begins := date_trunc('month', p_now) + make_interval(months => v_month);
        v_ends := v_begins + interval '1 month';
        v_name := 'entries_' || to_char(v_begins, 'YYYY_MM');
        CONTINUE WHEN EXISTS (SELECT FROM ledger_partitions WHERE begins < v_ends AND ends > v_begins);
        LOCK TABLE entries_default IN ACCESS EXCLUSIVE MODE;
        CONTINUE WHEN EXISTS (SELECT FROM entries_default WHERE held_at >= v_begins AND held_at < v_ends);
        EXECUTE format('CREATE TABLE %I (LIKE entries INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING COMPRESSION '
                       'INCLUDING CONSTRAINTS)', v_name);
        EXECUTE format('ALTER TABLE entries ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', v_name, v_begins, v_ends);
        EXECUTE format('CREATE TRIGGER entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history()', v_name);
        INSERT INTO ledger_partitions (name, begins, ends) VALUES (v_name, v_begins, v_ends);
        v_made := v_made || v_name;
    END LOOP;
    RETURN v_made;
END
$$;

-- The archive ---------------------------------------------------------------------------------------------------

-- What was written to the archive and read back from it: the entries with these numbers. Each begins after the one before.
--   digest  SHA-256 of their canonical lines, each ended by a line feed, in order, as read back from the archive
--   hashes  SHA-256 of their entry_hash in order, which this database compares with its own
CREATE TABLE segments (
    first_seq bigint PRIMARY KEY,
    last_seq bigint NOT NULL UNIQUE CHECK (last_seq >= first_seq),
    entries bigint NOT NULL CHECK (entries > 0),
    amount_nanousd numeric NOT NULL,
    digest bytea NOT NULL CHECK (length(digest) = 32),
    hashes bytea NOT NULL CHECK (length(hashes) = 32),
    delta_version bigint NOT NULL CHECK (delta_version >= 0),
    written_at timestamptz NOT NULL
);
CREATE TRIGGER segments_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON segments
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();

-- What calls cost that are in the archive alone, by quarter hours: every calendar's periods begin with one. Blocks of capabilities are
-- named as long as somebody may ask what was spent on them.
CREATE TABLE archived_sums (
    partition text NOT NULL REFERENCES ledger_partitions,
    grant_id text NOT NULL,
    node_ids text[] NOT NULL,
    block_ids text[] NOT NULL,
    quarter timestamptz NOT NULL,
    entries bigint NOT NULL,
    amount_nanousd bigint NOT NULL,
    overage_nanousd bigint NOT NULL,
    tokens bigint NOT NULL,
    requests bigint NOT NULL,
    experiments_in_production bigint NOT NULL,
    last_held_at timestamptz NOT NULL,
    PRIMARY KEY (grant_id, quarter, node_ids, block_ids, partition)
);
CREATE INDEX archived_sums_partition ON archived_sums (partition);
CREATE VIEW dropped_sums AS
SELECT s.* FROM archived_sums AS s WHERE partition IN (SELECT name FROM ledger_partitions WHERE dropped_at IS NOT NULL);

-- What must not be taken away, neither from here nor from the archive: entries that a grant was charged for, or all.
CREATE TABLE legal_holds (
    id text PRIMARY KEY,
    grant_id text REFERENCES grants,
    reason text NOT NULL CHECK (reason <> ''),
    placed_by text NOT NULL CHECK (placed_by <> ''),
    placed_at timestamptz NOT NULL,
    lifted_by text,
    lifted_at timestamptz,
    CHECK ((lifted_by IS NULL) = (lifted_at IS NULL))
);
CREATE TRIGGER legal_holds_audit AFTER INSERT OR UPDATE ON legal_holds
    FOR EACH ROW EXECUTE FUNCTION audit_change('legal_hold', 'id');

-- What left the archive for good because its time was up: the entries of a month and class. Written before they go; done_at is when
-- they were gone.
CREATE TABLE expired_months (
    month date NOT NULL CHECK (month = date_trunc('month', month)::date),
    class text NOT NULL,
    entries bigint NOT NULL CHECK (entries > 0),
    amount_nanousd numeric NOT NULL,
    digest bytea NOT NULL CHECK (length(digest) = 32),
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL CHECK (last_seq >= first_seq),
    kept_months integer NOT NULL CHECK (kept_months > 0),
    begun_at timestamptz NOT NULL,
    done_at timestamptz,
    PRIMARY KEY (month, class)
);

-- The number up to which entries may go into a segment: they are in the sums of reports and, where there is a tree, in it.
CREATE FUNCTION archivable_seq() RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = remit, pg_temp AS $$
DECLARE
    v_seq bigint := (SELECT seq FROM rollup_state);
    v_sealed bigint;
BEGIN
    IF to_regclass('ledger_seals') IS NOT NULL THEN
        EXECUTE 'SELECT coalesce(max(last_seq), 0) FROM ledger_seals' INTO v_sealed;
        v_seq := least(v_seq, v_sealed);
    END IF;
    RETURN v_seq;
END
$$;

-- Records a segment that was read back from the archive. Raises where it does not follow the last one, or is not what is here.
CREATE FUNCTION record_segment(p_now timestamptz, p_first_seq bigint, p_last_seq bigint, p_entries bigint, p_amount_nanousd numeric,
                               p_digest bytea, p_hashes bytea, p_delta_version bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp AS $$
DECLARE
    v_after bigint;
    v_found record;
BEGIN
    PERFORM pg_advisory_xact_lock(7237529);
    v_after := (SELECT coalesce(max(last_seq), 0) FROM segments);
    SELECT count(*) AS entries, sum(amount_nanousd) AS amount, sha256(string_agg(entry_hash, ''::bytea ORDER BY seq)) AS hashes
    INTO v_found FROM entries WHERE seq BETWEEN p_first_seq AND p_last_seq;
    IF p_first_seq <> v_after + 1 OR p_last_seq > archivable_seq()
       OR (v_found.entries, v_found.amount, v_found.hashes) IS DISTINCT FROM (p_entries, p_amount_nanousd, p_hashes) THEN
        RAISE EXCEPTION 'the segment from % to % does not follow the last one or is not what the ledger has', p_first_seq, p_last_seq
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    INSERT INTO segments (first_seq, last_seq, entries, amount_nanousd, digest, hashes, delta_version, written_at)
    VALUES (p_first_seq, p_last_seq, p_entries, p_amount_nanousd, p_digest, p_hashes, p_delta_version, p_now);
END
$$;

-- Why a partition cannot go: NULL where it can, once it is summed. Codes: unknown, hot, not_archived, open_hold, open_suspense, held.
CREATE FUNCTION why_kept(p_name text, p_now timestamptz, p_hot_days integer) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_part ledger_partitions;
    v_new bigint;
BEGIN
    SELECT * INTO v_part FROM ledger_partitions WHERE name = p_name AND dropped_at IS NULL;
    IF NOT FOUND THEN
        RETURN 'unknown';
    ELSIF p_hot_days IS NULL OR p_hot_days < 1 OR v_part.ends + make_interval(days => p_hot_days) > p_now THEN
        RETURN 'hot';
    END IF;
    EXECUTE format('SELECT max(seq) FROM %I', p_name) INTO v_new;
    IF v_new > coalesce(v_part.summed_seq, (SELECT max(last_seq) FROM segments), 0) THEN
        RETURN 'not_archived';
    ELSIF EXISTS (SELECT FROM holds WHERE state = 'open' AND taken_at >= v_part.begins AND taken_at < v_part.ends) THEN
        RETURN 'open_hold';
    ELSIF EXISTS (SELECT FROM holds AS h WHERE h.state = 'expired' AND h.taken_at >= v_part.begins AND h.taken_at < v_part.ends) THEN
        RETURN 'open_suspense';
    END IF;
    RETURN (SELECT 'held' FROM legal_holds AS l
            WHERE l.lifted_at IS NULL AND (l.grant_id IS NULL OR EXISTS (
                SELECT FROM archived_sums AS s WHERE s.partition = p_name AND l.grant_id = ANY (s.node_ids)))
            LIMIT 1);
END
$$;

-- Sums what a partition has of calls, so that it can go; nobody waits for that. Entries up to the last segment are complete: nothing
-- can appear among them any more. Answers why not, or NULL.
CREATE FUNCTION sum_partition(p_name text, p_now timestamptz, p_hot_days integer) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' SET jit = off AS $$
DECLARE
    v_why text;
BEGIN
    PERFORM pg_advisory_xact_lock(7237530);
    v_why := why_kept(p_name, p_now, p_hot_days);
    IF v_why = 'not_archived' AND EXISTS (SELECT FROM ledger_partitions WHERE name = p_name AND summed_seq IS NOT NULL) THEN
        -- Something came after it was summed.
        DELETE FROM archived_sums WHERE partition = p_name;
        UPDATE ledger_partitions SET (summed_seq, entries, amount_nanousd) = (NULL, NULL, NULL) WHERE name = p_name;
        v_why := why_kept(p_name, p_now, p_hot_days);
    END IF;
    IF v_why IS NOT NULL OR EXISTS (SELECT FROM ledger_partitions WHERE name = p_name AND summed_seq IS NOT NULL) THEN RETURN v_why; END IF;
    EXECUTE format($sum$
        INSERT INTO archived_sums
        SELECT %1$L, g.grant_id, g.node_ids, ARRAY (
                   SELECT b FROM unnest(g.block_ids) WITH ORDINALITY AS x (b, n)
                   WHERE EXISTS (SELECT FROM capability_blocks AS c WHERE c.id = x.b AND c.not_after > $1)
                      OR EXISTS (SELECT FROM buckets AS k WHERE k.node_id = x.b) ORDER BY n) AS blocks,
               g.quarter, sum(g.entries), sum(g.amount), sum(g.overage), sum(g.tokens), sum(g.requests), sum(g.experiments),
               max(g.last_held_at)
        FROM (
            SELECT e.grant_id, e.node_ids, e.block_ids, date_bin('15 minutes', e.held_at, '2000-01-01') AS quarter,
                   count(*) AS entries, sum(e.amount_nanousd) AS amount,
                   coalesce(sum(e.amount_nanousd) FILTER (WHERE e.kind = 'overage'), 0) AS overage, sum(e.tokens) AS tokens,
                   sum(e.requests) AS requests, max(e.held_at) AS last_held_at,
                   count(*) FILTER (WHERE e.class = 'experimentation' AND e.tags ->> 'environment' IN ('production', 'prod'))
                       AS experiments
            FROM %1$I AS e WHERE is_spend(e.kind)
            GROUP BY 1, 2, 3, 4
        ) AS g
        GROUP BY g.grant_id, g.node_ids, blocks, g.quarter$sum$, p_name) USING p_now;
    EXECUTE format('UPDATE ledger_partitions SET (summed_seq, entries, amount_nanousd) = (
                        SELECT (SELECT max(last_seq) FROM segments), count(*), coalesce(sum(amount_nanousd), 0) FROM %I)
                    WHERE name = %L', p_name, p_name);
    RETURN why_kept(p_name, p_now, p_hot_days);
END
$$;

-- Takes a partition that was summed out of this database, if nothing keeps it: the only way in which entries leave it. What belongs to
-- no call, and debts, stay, in the default partition: accounts and settlements are asked for as long as there is a ledger. Answers
-- why not, or NULL. Short, and alone with the books; who cannot get them to itself in two seconds tries again later.
CREATE FUNCTION drop_partition(p_name text, p_now timestamptz, p_hot_days integer) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' SET lock_timeout = '2s' AS $$
DECLARE
    v_why text;
    v_altered bigint;
BEGIN
    PERFORM lock_tree(true);
    LOCK TABLE entries IN ACCESS EXCLUSIVE MODE;
    LOCK TABLE legal_holds IN SHARE MODE;  -- none can be placed meanwhile
    v_why := CASE WHEN EXISTS (SELECT FROM ledger_partitions WHERE name = p_name AND summed_seq IS NOT NULL)
                  THEN why_kept(p_name, p_now, p_hot_days) ELSE 'not_summed' END;
    IF v_why IS NOT NULL THEN RETURN v_why; END IF;
    -- What stays is written again and gets its hash anew, so it has to have the right one.
    EXECUTE format('SELECT count(*) FROM %I AS e WHERE NOT is_spend(e.kind) AND entry_hash IS DISTINCT FROM hash_of(e)', p_name)
    INTO v_altered;
    IF v_altered > 0 THEN RETURN 'altered'; END IF;
    EXECUTE format('ALTER TABLE entries DETACH PARTITION %I', p_name);
    EXECUTE format('INSERT INTO entries OVERRIDING SYSTEM VALUE SELECT * FROM %I AS e WHERE NOT is_spend(e.kind) ORDER BY seq', p_name);
    EXECUTE format('DROP TABLE %I', p_name);
    UPDATE ledger_partitions SET dropped_at = p_now WHERE name = p_name;
    RETURN NULL;
END
$$;

-- Whether an instant is in a month whose calls are in the archive alone.
CREATE FUNCTION is_dropped(p_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE SET search_path = remit, pg_temp AS $$
    SELECT EXISTS (SELECT FROM ledger_partitions WHERE dropped_at IS NOT NULL AND begins <= p_at AND p_at < ends)
$$;

-- Writes down what of a month and class goes from the archive because it was kept long enough; done_at once it is gone. Answers why
-- not, or NULL. Codes: too_early, not_dropped, held, conflict.
CREATE FUNCTION expire_month(p_now timestamptz, p_month date, p_class text, p_kept_months integer, p_entries bigint,
                             p_amount_nanousd numeric, p_digest bytea, p_first_seq bigint, p_last_seq bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_ends timestamptz := p_month + interval '1 month';
BEGIN
    -- No hold can be placed meanwhile.
    LOCK TABLE legal_holds IN SHARE MODE;
    IF p_kept_months IS NULL OR p_kept_months < 1 OR v_ends + make_interval(months => p_kept_months) > p_now THEN
        RETURN 'too_early';
    ELSIF NOT EXISTS (SELECT FROM ledger_partitions WHERE dropped_at IS NOT NULL AND begins <= p_month AND ends >= v_ends) THEN
        RETURN 'not_dropped';
    ELSIF EXISTS (SELECT FROM legal_holds AS l WHERE l.lifted_at IS NULL AND (l.grant_id IS NULL OR EXISTS (
              SELECT FROM archived_sums AS s
              WHERE s.quarter >= p_month AND s.quarter < v_ends AND l.grant_id = ANY (s.node_ids)))) THEN
        RETURN 'held';
    END IF;
    INSERT INTO expired_months (month, class, entries, amount_nanousd, digest, first_seq, last_seq, kept_months, begun_at)
    VALUES (p_month, p_class, p_entries, p_amount_nanousd, p_digest, p_first_seq, p_last_seq, p_kept_months, p_now)
    ON CONFLICT (month, class) DO NOTHING;
    RETURN CASE WHEN NOT EXISTS (SELECT FROM expired_months WHERE (month, class, entries, amount_nanousd, digest)
                                 = (p_month, p_class, p_entries, p_amount_nanousd, p_digest)) THEN 'conflict' END;
END
$$;

-- What the books ask of entries ------------------------------------------------------------------------------------

-- What calls of months that are in the archive alone came to: of one node, between two instants, each at a quarter of an hour or
-- outside those months. `overage` is one more dimension.
CREATE FUNCTION dropped_sum(p_node text, p_dimension text, p_starts timestamptz, p_ends timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_path text := (SELECT path FROM grants WHERE id = p_node);
    v_below text[];
    v_cut boolean;
    v_sum bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM ledger_partitions WHERE dropped_at IS NOT NULL AND begins < p_ends AND ends > p_starts) THEN RETURN 0; END IF;
    v_below := ARRAY (SELECT id FROM grants WHERE id = p_node OR starts_with(path, v_path || '/'));
    SELECT coalesce(sum(CASE p_dimension WHEN 'usd' THEN s.amount_nanousd WHEN 'tokens' THEN s.tokens
                                         WHEN 'overage' THEN s.overage_nanousd ELSE s.requests END), 0),
           bool_or(s.quarter < p_starts OR s.quarter + interval '15 minutes' > p_ends)
    INTO v_sum, v_cut
    FROM dropped_sums AS s
    WHERE s.quarter > p_starts - interval '15 minutes' AND s.quarter < p_ends
      AND CASE WHEN v_path IS NULL THEN p_node = ANY (s.block_ids)
               ELSE s.grant_id = ANY (v_below) AND p_node = ANY (s.node_ids) END;
    IF v_cut THEN
        RAISE EXCEPTION 'the period from % to % cuts a quarter of an hour whose calls are in the archive alone', p_starts, p_ends
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN v_sum;
END
$$;

-- As they are found, and with what is in the archive alone, or with the instant that says in which partition to look.
DO $do$
DECLARE
    v record;
    v_made text;
BEGIN
    FOR v IN SELECT * FROM (VALUES
        ('ledger_sum(text, text, timestamptz, timestamptz)', 'RETURN (SELECT coalesce(sum(CASE',
         'RETURN dropped_sum(p_node, p_dimension, p_starts, p_ends) + (SELECT coalesce(sum(CASE', 2),
        ('align_buckets(jsonb)', 'v_total := v_total - v_overage - v_debt + v_repaid;',
         'v_overage := v_overage + CASE l.dimension WHEN ''usd'' THEN dropped_sum(l.node, ''overage'', l.starts, l.ends) ELSE 0 END;
        v_total := v_total - v_overage - v_debt + v_repaid;', 1),
        ('correct_suspense(holds, bigint, bigint, jsonb, timestamptz)', 'WHERE hold_id = p_hold.id AND kind = ',
         'WHERE hold_id = p_hold.id AND held_at = p_hold.taken_at AND kind = ', 2),
        ('correct_suspense(holds, bigint, bigint, jsonb, timestamptz)', 'WHERE corrects = v_suspense.id)',
         'WHERE corrects = v_suspense.id AND held_at = p_hold.taken_at)', 1),
        ('return_overpaid(timestamptz, text, text)', 'GROUP BY s.seq', 'GROUP BY s.seq, s.held_at', 1)
    ) AS x (name, old, new, times) LOOP
        v_made := pg_get_functiondef(v.name::regprocedure);
        IF (length(v_made) - length(replace(v_made, v.old, ''))) / length(v.old) <> v.times THEN
            RAISE EXCEPTION '% is not as it was when this was written', v.name;
        END IF;
        EXECUTE replace(v_made, v.old, v.new);
    END LOOP;
END
$do$;

-- As in 0024, and what is in the archive alone is complete.
CREATE OR REPLACE FUNCTION settled_seq() RETURNS bigint
LANGUAGE plpgsql SET search_path = remit, pg_temp AS $$
BEGIN
    PERFORM lock_tree(true);
    RETURN greatest((SELECT max(seq) FROM entries), (SELECT max(last_seq) FROM segments), 0);
END
$$;

GRANT SELECT ON segments, ledger_partitions, dropped_sums, legal_holds, expired_months TO remit_authority, remit_reader;
GRANT INSERT ON legal_holds TO remit_authority;
GRANT UPDATE (lifted_by, lifted_at) ON legal_holds TO remit_authority;
GRANT UPDATE (done_at) ON expired_months TO remit_authority;
GRANT EXECUTE ON FUNCTION ensure_partitions(timestamptz, integer), archivable_seq(), sum_partition(text, timestamptz, integer),
    record_segment(timestamptz, bigint, bigint, bigint, numeric, bytea, bytea, bigint),
    drop_partition(text, timestamptz, integer),
    expire_month(timestamptz, date, text, integer, bigint, numeric, bytea, bigint, bigint) TO remit_authority;
GRANT EXECUTE ON FUNCTION is_dropped(timestamptz), dropped_sum(text, text, timestamptz, timestamptz) TO remit_authority, remit_reader;

-- The first months, so that no entry has to wait for an upkeep to have a partition of its own.
SELECT ensure_partitions(now(), 3);

RESET ROLE;
