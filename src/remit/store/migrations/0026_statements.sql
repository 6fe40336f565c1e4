-- Vendors' statements: what they say was used and charged, version by version, with the bytes it was read from.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- `account` is '' where none is stated. `lines_sha256` is of the lines as they were read. `options` is what a person said about it,
-- by which its bytes can be read again. `amounts` and `amounts_left_out` are exact sums of the raw rows by currency, as text;
-- `meters` is {meter: {lines, quantity, amount_nanousd}}, `remarks` [{text, line, rows}].
CREATE TABLE statements (
    id text PRIMARY KEY,
    seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    vendor text NOT NULL CHECK (vendor <> ''),
    source text NOT NULL CHECK (source <> ''),
    account text NOT NULL,
    covers_since timestamptz NOT NULL,
    covers_until timestamptz NOT NULL CHECK (covers_since < covers_until),
    version integer NOT NULL CHECK (version >= 1),
    supersedes text UNIQUE REFERENCES statements (id),
    is_complete boolean NOT NULL,
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
    lines_sha256 bytea NOT NULL CHECK (length(lines_sha256) = 32),
    row_count bigint NOT NULL CHECK (row_count >= 0),
    line_count bigint NOT NULL CHECK (line_count >= 0),
    amount_nanousd bigint,
    amounts jsonb NOT NULL,
    rows_left_out bigint NOT NULL CHECK (rows_left_out >= 0),
    amounts_left_out jsonb NOT NULL,
    meters jsonb NOT NULL,
    remarks jsonb NOT NULL,
    options jsonb NOT NULL,
    imported_at timestamptz NOT NULL,
    imported_by text NOT NULL CHECK (imported_by <> ''),
    UNIQUE (vendor, source, account, covers_since, covers_until, version),
    CONSTRAINT later_versions_supersede CHECK ((version = 1) = (supersedes IS NULL))
);

-- `number` counts the lines of a statement from 1, `line` is the row of the raw file. Null is not stated.
CREATE TABLE statement_lines (
    statement_id text NOT NULL REFERENCES statements (id),
    number bigint NOT NULL CHECK (number >= 1),
    line bigint NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL CHECK (starts_at < ends_at),
    vendor text NOT NULL,
    meter text NOT NULL,
    account text,
    project text,
    key_id text,
    region text,
    resource text,
    model text,
    tier text,
    is_batch boolean,
    context_window text,
    quantity numeric,
    unit text,
    stated_quantity text,
    stated_unit text,
    requests bigint,
    amount_nanousd bigint,
    amount_text text,
    list_amount_nanousd bigint,
    currency text,
    charge text NOT NULL CHECK (charge IN ('usage', 'purchase', 'tax', 'credit', 'adjustment')),
    is_correction boolean NOT NULL,
    invoice_id text,
    invoice_issuer text,
    native_id text,
    text text,
    tags jsonb NOT NULL,
    PRIMARY KEY (statement_id, number)
);

-- As zlib compressed them; nobody but the authority reads what a vendor's file holds besides its lines.
CREATE TABLE statement_raw (
    statement_id text PRIMARY KEY REFERENCES statements (id),
    packed bytea NOT NULL CHECK (length(packed) <= 64 * 1024 * 1024)
);
-- It is compressed already.
ALTER TABLE statement_raw ALTER COLUMN packed SET STORAGE EXTERNAL;

CREATE TRIGGER statements_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON statements
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();
CREATE TRIGGER statement_lines_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON statement_lines
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();
CREATE TRIGGER statement_raw_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON statement_raw
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();

GRANT SELECT, INSERT ON statements, statement_lines, statement_raw TO remit_authority;
GRANT SELECT ON statements, statement_lines TO remit_reader;

RESET ROLE;
