-- Buckets, holds, the ledger and notifications: the tables. The functions that move money are in 0003 and 0004.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- Buckets -------------------------------------------------------------------------------------------------------

-- What one node may spend in one dimension and period. A node is a grant or a block of a capability.
-- `target` is the limit as written; `limit_amount` is max(target, posted + held), so that lowering a limit below what
-- is already used drains instead of breaking the check. Admission always compares with `target`. The same goes for
-- `overdraft_target` and `overdraft_limit`.
-- `overage` is what calls cost beyond their ceiling: a fault in a price or a tokenizer, counted against the limit.
-- Kinds `minute` and `inflight` carry the rates (rpm, tpm, concurrency).
CREATE TABLE buckets (
    node_id text NOT NULL,
    dimension text NOT NULL CHECK (dimension IN ('usd', 'tokens', 'requests')),
    period_kind text NOT NULL
        CHECK (period_kind IN ('minute', 'inflight', 'day', 'week', 'month', 'quarter', 'once')),
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL CHECK (period_end > period_start),
    target bigint NOT NULL CHECK (target >= 0),
    limit_amount bigint NOT NULL,
    posted bigint NOT NULL DEFAULT 0 CHECK (posted >= 0),
    held bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    overage bigint NOT NULL DEFAULT 0 CHECK (overage >= 0),
    overdraft_target bigint NOT NULL DEFAULT 0 CHECK (overdraft_target >= 0),
    overdraft_limit bigint NOT NULL DEFAULT 0,
    overdraft_posted bigint NOT NULL DEFAULT 0 CHECK (overdraft_posted >= 0),
    overdraft_held bigint NOT NULL DEFAULT 0 CHECK (overdraft_held >= 0),
    page_percents integer[] NOT NULL DEFAULT '{}',
    paged_percent integer NOT NULL DEFAULT 0,
    PRIMARY KEY (node_id, dimension, period_kind, period_start),
    CONSTRAINT hard_cap CHECK (posted + held <= limit_amount),
    CONSTRAINT hard_overdraft CHECK (overdraft_posted + overdraft_held <= overdraft_limit),
    CONSTRAINT limit_covers_target CHECK (limit_amount >= target AND overdraft_limit >= overdraft_target)
) WITH (fillfactor = 50);

-- The periods of buckets that went when their node's calendar changed: whoever opens a bucket for a part of such a period
-- must ask the ledger what was spent in it.
CREATE TABLE replaced_buckets (
    node_id text NOT NULL,
    dimension text NOT NULL,
    period_kind text NOT NULL,
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL,
    PRIMARY KEY (node_id, dimension, period_kind, period_start)
);

-- Holds ---------------------------------------------------------------------------------------------------------

CREATE TYPE hold_line AS (
    node_id text,
    dimension text,
    period_kind text,
    period_start timestamptz,
    amount bigint,
    overdraft bigint
);

-- `entry` is what the ledger will need about the request, known when the hold is taken, so that a hold can be ended
-- truthfully even if the gateway that took it never comes back.
CREATE TABLE holds (
    id text PRIMARY KEY,
    operation_id text NOT NULL,
    request_id text NOT NULL,
    grant_id text NOT NULL REFERENCES grants (id),
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'settled', 'voided', 'expired')),
    taken_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    ceiling_nanousd bigint NOT NULL CHECK (ceiling_nanousd >= 0),
    ceiling_tokens bigint NOT NULL CHECK (ceiling_tokens >= 0),
    lines hold_line[] NOT NULL,
    entry jsonb NOT NULL,
    CONSTRAINT entry_is_complete CHECK (entry ?& '{grant_path,node_ids,block_ids,class,owner,tags,vendor,deployment,'
                                                  'model_requested,price_source,policy_version,decision_id}')
) WITH (fillfactor = 80);
CREATE INDEX holds_open ON holds (expires_at) WHERE state = 'open';
CREATE INDEX holds_in_suspense ON holds (taken_at) WHERE state = 'expired';

-- The ledger ----------------------------------------------------------------------------------------------------

CREATE TABLE entries (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE,
    kind text NOT NULL CHECK (kind IN ('usage', 'adjustment', 'transfer', 'overdraft', 'repayment', 'overage',
                                       'suspense', 'correction')),
    amount_nanousd bigint NOT NULL,
    grant_id text NOT NULL,
    grant_path text NOT NULL,
    node_ids text[] NOT NULL,
    block_ids text[] NOT NULL,
    debtor_id text,
    debt_period text,
    class text NOT NULL,
    owner text NOT NULL,
    tags jsonb NOT NULL,
    tag_conflicts jsonb,
    vendor text NOT NULL,
    deployment text NOT NULL,
    model_requested text NOT NULL,
    model_served text,
    tier text,
    usage jsonb,
    price_lines jsonb,
    price_source text NOT NULL,
    usage_source text NOT NULL CHECK (usage_source IN ('vendor', 'recovered', 'estimated')),
    tokens bigint NOT NULL,
    requests integer NOT NULL,
    request_id text NOT NULL,
    operation_id text NOT NULL,
    hold_id text NOT NULL,
    vendor_request_id text,
    corrects text,
    policy_version bigint NOT NULL,
    decision_id text NOT NULL,
    held_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    note text,
    entry_hash bytea NOT NULL,
    CONSTRAINT debt_names_its_debtor CHECK ((kind IN ('overdraft', 'repayment')) = (debtor_id IS NOT NULL)
                                            AND (debtor_id IS NULL) = (debt_period IS NULL)),
    CONSTRAINT correction_names_what_it_corrects CHECK ((kind = 'correction') = (corrects IS NOT NULL))
);
-- Settled once, corrected once: the second attempt meets these even if every other guard failed.
CREATE UNIQUE INDEX entries_settle_once ON entries (hold_id) WHERE kind IN ('usage', 'suspense');
CREATE UNIQUE INDEX entries_overage_once ON entries (hold_id) WHERE kind = 'overage';
CREATE UNIQUE INDEX entries_overdraft_once ON entries (hold_id, debtor_id, debt_period) WHERE kind = 'overdraft';
CREATE UNIQUE INDEX entries_correct_once ON entries (corrects) WHERE corrects IS NOT NULL;
CREATE INDEX entries_held_at ON entries (held_at);
CREATE INDEX entries_grant ON entries (grant_id, held_at);

-- Whether an entry is money spent. Overdraft and repayment entries move debt: the spend itself is in the usage entry.
CREATE FUNCTION is_spend(p_kind text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$ SELECT p_kind NOT IN ('overdraft', 'repayment') $$;

CREATE FUNCTION hash_of(p_entry entries) RETURNS bytea
LANGUAGE sql STABLE SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
    SELECT sha256(convert_to((to_jsonb(p_entry) - 'seq' - 'entry_hash')::text, 'UTF8'))
$$;

CREATE FUNCTION seal_entry() RETURNS trigger
LANGUAGE plpgsql SET search_path = remit, pg_temp AS $$
BEGIN
    NEW.entry_hash := hash_of(NEW);
    RETURN NEW;
END
$$;
CREATE TRIGGER entries_seal BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION seal_entry();
CREATE TRIGGER entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();

-- Notifications -------------------------------------------------------------------------------------------------

-- A page or a report to a person: written in the transaction that caused it, delivered afterwards.
CREATE TABLE notifications (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('threshold', 'cap_reached', 'overdraft', 'overage', 'forecast_exhaustion',
                                       'class_mismatch', 'suspense')),
    audience text NOT NULL CHECK (audience IN ('owner', 'on_call', 'security')),
    node_id text NOT NULL,
    dimension text NOT NULL DEFAULT '',
    threshold integer NOT NULL DEFAULT 0,
    period_kind text NOT NULL DEFAULT '',
    period_start timestamptz NOT NULL DEFAULT 'epoch',
    body jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    delivered_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL,
    -- Alert once per grant, threshold and period.
    UNIQUE (kind, node_id, dimension, threshold, period_kind, period_start)
);
CREATE INDEX notifications_due ON notifications (next_attempt_at) WHERE delivered_at IS NULL;

GRANT SELECT ON buckets, holds, entries, notifications TO remit_authority, remit_reader;
GRANT UPDATE (delivered_at, attempts, next_attempt_at) ON notifications TO remit_authority;
GRANT EXECUTE ON FUNCTION is_spend(text), hash_of(entries) TO remit_authority, remit_reader;

RESET ROLE;
