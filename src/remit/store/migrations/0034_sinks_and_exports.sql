-- How far each receiver of entries has been fed, what it will not take, and which files were written for which periods.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- Entries up to `seq` were delivered, were not asked for, or are letters. `attempts` are those that failed since the last one that did not.
CREATE TABLE sinks (
    name text PRIMARY KEY,
    seq bigint NOT NULL CHECK (seq >= 0),
    known_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL,
    delivered bigint NOT NULL DEFAULT 0,
    delivered_at timestamptz,
    failed_at timestamptz,
    error text
);

-- Entries that a receiver refused for good; `due` again when somebody asked for it. `seq` is one of entries, or of the archive.
CREATE TABLE sink_letters (
    sink text NOT NULL REFERENCES sinks,
    seq bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('dead', 'due', 'delivered')),
    error text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (sink, seq)
);
CREATE INDEX sink_letters_left ON sink_letters (sink, seq) WHERE state <> 'delivered';

-- One for each period that an export was due for.
CREATE TABLE export_files (
    export text NOT NULL,
    period date NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL,
    written_at timestamptz,
    path text,
    rows bigint,
    error text,
    PRIMARY KEY (export, period)
);

-- When the last entry was recorded of those that are in the archive alone: whoever wants what was recorded earlier has to look there.
ALTER TABLE ledger_partitions ADD last_recorded_at timestamptz;
DO $do$
DECLARE
    v_made text := pg_get_functiondef('drop_partition(text, timestamptz, integer)'::regprocedure);
    v_old text := E'    IF v_altered > 0 THEN RETURN ''altered''; END IF;\n';
BEGIN
    IF (length(v_made) - length(replace(v_made, v_old, ''))) / length(v_old) <> 1 THEN
        RAISE EXCEPTION 'drop_partition is not as it was when this was written';
    END IF;
    EXECUTE replace(v_made, v_old, v_old || $new$
    EXECUTE format('UPDATE ledger_partitions SET last_recorded_at = (SELECT max(recorded_at) FROM %I) WHERE name = %L', p_name, p_name);
$new$);
END
$do$;

-- A month does not leave this database before every receiver has it that was heard of in the time that months stay. Codes of why_kept,
-- also: not_delivered.
DO $do$
DECLARE
    v_made text := pg_get_functiondef('why_kept(text, timestamptz, integer)'::regprocedure);
    v_old text := E'        RETURN ''not_archived'';\n';
BEGIN
    IF (length(v_made) - length(replace(v_made, v_old, ''))) / length(v_old) <> 1 THEN
        RAISE EXCEPTION 'why_kept is not as it was when this was written';
    END IF;
    EXECUTE replace(v_made, v_old, v_old || $new$
    ELSIF EXISTS (SELECT FROM sinks WHERE sinks.seq < v_new
                  AND greatest(known_at, delivered_at, failed_at) > p_now - make_interval(days => p_hot_days)) THEN
        RETURN 'not_delivered';
$new$);
END
$do$;

GRANT SELECT, INSERT ON sinks, sink_letters, export_files TO remit_authority;
GRANT UPDATE (seq, attempts, next_attempt_at, delivered, delivered_at, failed_at, error) ON sinks TO remit_authority;
GRANT UPDATE (state, error, at) ON sink_letters TO remit_authority;
GRANT UPDATE (attempts, next_attempt_at, written_at, path, rows, error) ON export_files TO remit_authority;
GRANT SELECT ON sinks, sink_letters, export_files TO remit_reader;

RESET ROLE;
