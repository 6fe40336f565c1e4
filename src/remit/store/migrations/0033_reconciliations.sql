-- What a comparison of the ledger with a vendor's statements found for a month, and what was booked for it.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- One comparison. `statements` are those it read, `entries` what it proposes to book, in the form post_entries takes, `digest` that of
-- them: what is approved is what was proposed. `billed_nanousd` is the invoice's total, NULL where there was none yet; then
-- billed = ledger + sum of its findings, to the nano-dollar.
CREATE TABLE reconciliations (
    id              text PRIMARY KEY,
    month           date NOT NULL CHECK (month = date_trunc('month', month)::date),
    vendor          text NOT NULL,
    made_at         timestamptz NOT NULL,
    made_by         text NOT NULL,
    statements      text[] NOT NULL,
    bills           jsonb NOT NULL,
    ledger_nanousd  bigint NOT NULL,
    billed_nanousd  bigint,
    found_nanousd   bigint NOT NULL,
    unexplained_nanousd bigint NOT NULL,
    proposed_nanousd bigint NOT NULL,
    entries         jsonb NOT NULL,
    feedback        jsonb NOT NULL,
    digest          text NOT NULL,
    key             text NOT NULL UNIQUE,
    CONSTRAINT every_difference_is_found CHECK (billed_nanousd IS NULL OR billed_nanousd = ledger_nanousd + found_nanousd)
);
CREATE INDEX reconciliations_month ON reconciliations (month, vendor, made_at);

-- Its findings. `about` says what it is about as far as that is known (day, account, project, key, deployment, model, meter, ...),
-- `evidence` the numbers it was decided on.
CREATE TABLE drift (
    reconciliation_id text NOT NULL REFERENCES reconciliations,
    number      integer NOT NULL,
    cause       text NOT NULL,
    outcome     text NOT NULL CHECK (outcome IN ('adjustment', 'explained', 'look')),
    confidence  text NOT NULL CHECK (confidence IN ('exact', 'likely')),
    first_day   date NOT NULL,
    last_day    date NOT NULL CHECK (last_day >= first_day),
    about       jsonb NOT NULL,
    amount_nanousd bigint NOT NULL,
    evidence    jsonb NOT NULL,
    PRIMARY KEY (reconciliation_id, number)
);

-- That what was proposed was booked: once.
CREATE TABLE reconciliation_postings (
    reconciliation_id text PRIMARY KEY REFERENCES reconciliations,
    at        timestamptz NOT NULL,
    by        text NOT NULL,
    entry_ids text[] NOT NULL
);
CREATE TRIGGER reconciliations_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliations
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();
CREATE TRIGGER drift_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON drift
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();
CREATE TRIGGER reconciliation_postings_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliation_postings
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();

-- Tickets about the books: of what is booked, and of opening a month again.
ALTER TABLE tickets DROP CONSTRAINT tickets_kind_check;
ALTER TABLE tickets ADD CONSTRAINT tickets_kind_check
    CHECK (kind IN ('grant', 'renew', 'increase', 'transfer', 'break_glass', 'debt', 'finding', 'books'));

GRANT SELECT, INSERT ON reconciliations, drift, reconciliation_postings TO remit_authority;
GRANT SELECT ON reconciliations, drift, reconciliation_postings TO remit_reader;

RESET ROLE;
