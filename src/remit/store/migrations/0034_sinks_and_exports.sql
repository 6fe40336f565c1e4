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

-- Entries that a receiver refused for good; `due` again when somebody asked for it.
CREATE TABLE sink_letters (
    sink text NOT NULL REFERENCES sinks,
    seq bigint NOT NULL REFERENCES entries,
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

GRANT SELECT, INSERT ON sinks, sink_letters, export_files TO remit_authority;
GRANT UPDATE (seq, attempts, next_attempt_at, delivered, delivered_at, failed_at, error) ON sinks TO remit_authority;
GRANT UPDATE (state, error, at) ON sink_letters TO remit_authority;
GRANT UPDATE (attempts, next_attempt_at, written_at, path, rows, error) ON export_files TO remit_authority;
GRANT SELECT ON sinks, sink_letters, export_files TO remit_reader;

RESET ROLE;
