-- A statement that was imported by mistake is withdrawn: nothing is compared with it any more, and it is kept with its bytes.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

CREATE TABLE statement_withdrawals (
    statement_id text PRIMARY KEY REFERENCES statements (id),
    at     timestamptz NOT NULL,
    by     text NOT NULL CHECK (by <> ''),
    reason text NOT NULL CHECK (reason <> '')
);
CREATE TRIGGER statement_withdrawals_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON statement_withdrawals
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();

GRANT SELECT, INSERT ON statement_withdrawals TO remit_authority;
GRANT SELECT ON statement_withdrawals TO remit_reader;

RESET ROLE;
