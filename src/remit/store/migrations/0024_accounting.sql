-- What belongs to no call is booked too: what a vendor charged otherwise than metered, and what moves between those who pay. Every
-- entry says in which month it is booked.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

SELECT lock_tree(true);

-- Up to which month the books are closed. What is recorded afterwards about a closed month is booked in the first open one, and
-- `held_at` still says when it was used (FOCUS, correction handling: charge period and billing period).
CREATE TABLE books (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    closed_through date CHECK (closed_through = date_trunc('month', closed_through)::date)
);
INSERT INTO books DEFAULT VALUES;

-- The month in which something used at an instant is booked now. Months are UTC's, as vendors' are.
CREATE FUNCTION booked_month(p_held_at timestamptz) RETURNS date
LANGUAGE sql STABLE SET search_path = remit, pg_temp AS $$
    SELECT greatest(date_trunc('month', p_held_at AT TIME ZONE 'UTC')::date, (closed_through + interval '1 month')::date)
    FROM books
$$;

-- billing_month  the month it is booked in; NULL in older entries: that of held_at
-- trace_id       the caller's trace, where one was sent
-- attempt        which attempt at its operation a call was, from 1; NULL where it is not known
-- usage, tokens and requests of what belongs to no call are those the vendor states and nobody metered.
ALTER TABLE entries
    ADD COLUMN billing_month date CHECK (billing_month = date_trunc('month', billing_month)::date),
    ADD COLUMN trace_id text,
    ADD COLUMN attempt integer CHECK (attempt > 0),
    ADD CONSTRAINT month_is_known CHECK (billing_month IS NOT NULL) NOT VALID,
    DROP CONSTRAINT debt_names_its_debtor, DROP CONSTRAINT only_debts_are_settled, DROP CONSTRAINT settling_lowers_a_debt;
-- `settlement` is there where an entry belongs to no call:
--   of a debt       {key, by, how: repay | forgive, ...} or {key, by, returns}, as before
--   adjustment      {key, by, how: "reconciled", cause, ...}: what a vendor charges more or less than was metered, and why
--   transfer        {key, by, how: "allocated", transfer_id, rule, ...}: moves a charge between grants or tags; the entries of one
--                   transfer sum to nothing
ALTER TABLE entries
    ADD CONSTRAINT debt_names_its_debtor CHECK (
        (debtor_id IS NULL) = (debt_period IS NULL)
        AND CASE WHEN kind IN ('overdraft', 'repayment') THEN debtor_id IS NOT NULL
                 WHEN kind = 'adjustment' THEN (debtor_id IS NULL) = (settlement ->> 'how' IS NOT DISTINCT FROM 'reconciled')
                 ELSE debtor_id IS NULL END),
    ADD CONSTRAINT what_belongs_to_no_call CHECK (
        CASE WHEN settlement IS NULL THEN kind NOT IN ('adjustment', 'transfer')
             WHEN debtor_id IS NOT NULL
                 THEN kind IN ('repayment', 'adjustment') AND settlement ?& '{key,by}' AND (tokens, requests) = (0, 0)
             WHEN kind = 'adjustment'
                 THEN settlement ?& '{key,by,cause}' AND settlement ->> 'how' IS NOT DISTINCT FROM 'reconciled'
                      AND vendor IS NOT NULL
             WHEN kind = 'transfer'
                 THEN settlement ?& '{key,by,transfer_id,rule}' AND settlement ->> 'how' IS NOT DISTINCT FROM 'allocated'
                      AND (tokens, requests) = (0, 0)
             ELSE false END),
    ADD CONSTRAINT settling_lowers_a_debt CHECK (kind NOT IN ('repayment', 'adjustment') OR debtor_id IS NULL
                                                 OR amount_nanousd <= 0 OR coalesce(settlement ? 'returns', false));
CREATE INDEX entries_transfers ON entries ((settlement ->> 'transfer_id')) WHERE kind = 'transfer';

ALTER TABLE holds DROP CONSTRAINT entry_says_no_more;
ALTER TABLE holds ADD CONSTRAINT entry_says_no_more CHECK (
    entry - '{grant_path,node_ids,block_ids,class,owner,tags,tag_conflicts,vendor,deployment,model_requested,tier,price_lines,'
            'price_source,policy_version,decision_id,trace_id,attempt}'::text[] = '{}');

-- What a call cost: what holds are settled as, and what limits count. Nothing else is ever in a bucket's `posted`.
CREATE OR REPLACE FUNCTION is_spend(p_kind text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$ SELECT p_kind IN ('usage', 'overage', 'suspense', 'correction') $$;

-- What its owner is charged: what calls cost, what a vendor charged otherwise than metered, and what was moved here or away. The
-- rest is debt: the spend itself is in the entry of the call.
CREATE FUNCTION is_charged(p_kind text, p_debtor_id text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT p_kind IN ('usage', 'overage', 'suspense', 'correction', 'transfer') OR p_kind = 'adjustment' AND p_debtor_id IS NULL
$$;

-- As in 0020. A column that an entry has no value in is not in its hash, so that entries from before it keep theirs.
CREATE OR REPLACE FUNCTION hash_of(p_entry entries) RETURNS bytea
LANGUAGE sql STABLE SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
    SELECT sha256(convert_to((to_jsonb(p_entry) - ARRAY [
        'seq', 'entry_hash',
        CASE WHEN p_entry.periods IS NULL THEN 'periods' ELSE 'seq' END,
        CASE WHEN p_entry.settlement IS NULL THEN 'settlement' ELSE 'seq' END,
        CASE WHEN p_entry.billing_month IS NULL THEN 'billing_month' ELSE 'seq' END,
        CASE WHEN p_entry.trace_id IS NULL THEN 'trace_id' ELSE 'seq' END,
        CASE WHEN p_entry.attempt IS NULL THEN 'attempt' ELSE 'seq' END])::text, 'UTF8'))
$$;

-- As in 0009, and with the month, the trace and the attempt.
CREATE OR REPLACE FUNCTION append_entry(p_hold holds, p_more jsonb, p_suffix text, p_now timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_entry entries;
BEGIN
    v_entry := jsonb_populate_record(NULL::entries, p_hold.entry || p_more);
    v_entry.id := replace(p_hold.id, 'hold_', 'entry_') || p_suffix;
    v_entry.hold_id := p_hold.id;
    v_entry.operation_id := p_hold.operation_id;
    v_entry.request_id := p_hold.request_id;
    v_entry.grant_id := p_hold.grant_id;
    v_entry.periods := periods_of(p_hold.lines);
    v_entry.held_at := p_hold.taken_at;
    v_entry.billing_month := booked_month(p_hold.taken_at);
    v_entry.recorded_at := p_now;
    INSERT INTO entries (id, kind, amount_nanousd, grant_id, grant_path, node_ids, block_ids, debtor_id, debt_period,
                         class, owner, tags, tag_conflicts, vendor, deployment, model_requested, model_served, tier, usage,
                         price_lines, price_source, usage_source, tokens, requests, request_id, operation_id, hold_id,
                         vendor_request_id, corrects, policy_version, decision_id, held_at, recorded_at, note,
                         periods, billing_month, trace_id, attempt, entry_hash)
    VALUES (v_entry.id, v_entry.kind, v_entry.amount_nanousd, v_entry.grant_id, v_entry.grant_path, v_entry.node_ids,
            v_entry.block_ids, v_entry.debtor_id, v_entry.debt_period, v_entry.class, v_entry.owner, v_entry.tags,
            v_entry.tag_conflicts,
            v_entry.vendor, v_entry.deployment, v_entry.model_requested, v_entry.model_served, v_entry.tier,
            v_entry.usage, v_entry.price_lines, v_entry.price_source, v_entry.usage_source, v_entry.tokens,
            v_entry.requests, v_entry.request_id, v_entry.operation_id, v_entry.hold_id, v_entry.vendor_request_id,
            v_entry.corrects, v_entry.policy_version, v_entry.decision_id, v_entry.held_at, v_entry.recorded_at,
            v_entry.note, v_entry.periods, v_entry.billing_month, v_entry.trace_id, v_entry.attempt, '\x');
    RETURN v_entry.id;
END
$$;

-- The id of the entry of a settlement's key.
CREATE FUNCTION settlement_id(p_key text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT 'entry_0' || left(encode(sha256(convert_to(p_key, 'UTF8')), 'hex'), 25) $$;

-- The grants of a path, root first.
CREATE FUNCTION path_ids(p_path text) RETURNS text[]
LANGUAGE sql STABLE SET search_path = remit, pg_temp AS $$
    SELECT ARRAY (SELECT a.id FROM grants AS a WHERE p_path = a.path OR starts_with(p_path, a.path || '/')
                  ORDER BY length(a.path))
$$;

-- As in 0020, and with the month.
CREATE OR REPLACE FUNCTION append_settlement(p_node text, p_period_kind text, p_kind text, p_amount_nanousd bigint, p_periods jsonb,
                                             p_settlement jsonb, p_note text, p_held_at timestamptz, p_now timestamptz)
RETURNS void
LANGUAGE sql SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
    INSERT INTO entries (id, kind, amount_nanousd, grant_id, grant_path, node_ids, block_ids, debtor_id, debt_period, class,
                         owner, tags, tokens, requests, periods, settlement, note, held_at, recorded_at, billing_month,
                         entry_hash)
    SELECT settlement_id(p_settlement ->> 'key'), p_kind, p_amount_nanousd, g.id, g.path, path_ids(g.path), '{}', g.id,
           p_period_kind, g.class, g.owner, '{}', 0, 0, p_periods, p_settlement, p_note, p_held_at, p_now,
           booked_month(p_held_at), '\x'
    FROM grants AS g WHERE g.id = p_node
$$;

-- Books what belongs to no call: all of it or nothing, once for each key.
--
-- p_entries  [{kind: "adjustment" | "transfer", grant_id, amount_nanousd, held_at, tags, settlement: {how, ...}, note?, vendor?,
--             deployment?, model?, tier?, usage?, tokens?, requests?}, ...]; the grant is as it is now
-- p_key      asked for again with the same entries it is answered as the first time; with others it is refused
--
-- Answers {"posted": [ids], "repeated"}, or {"refused": code, ...} and changes nothing. Codes: conflict_different_entries, grant_unknown, unbalanced. Anything malformed raises.
CREATE FUNCTION post_entries(p_now timestamptz, p_entries jsonb, p_by text, p_key text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_digest text := encode(sha256(convert_to(p_entries::text, 'UTF8')), 'hex');
    v_first entries;
    v_problem jsonb;
    v_ids text[];
BEGIN
    IF p_key IS NULL OR p_by IS NULL OR jsonb_typeof(p_entries) <> 'array' OR jsonb_array_length(p_entries) = 0 THEN
        RAISE EXCEPTION 'entries are posted by somebody, under a key, and at least one' USING ERRCODE = 'check_violation';
    END IF;
    PERFORM lock_tree(false);
    PERFORM pg_advisory_xact_lock(hashtextextended(p_key, 7237497));
    SELECT * INTO v_first FROM entries WHERE settlement IS NOT NULL AND settlement ->> 'key' = p_key || ':1';
    IF FOUND THEN
        IF v_first.settlement ->> 'batch' IS DISTINCT FROM v_digest THEN
            RETURN '{"refused": "conflict_different_entries"}';
        END IF;
        RETURN jsonb_build_object('repeated', true, 'posted', (
            SELECT jsonb_agg(settlement_id(p_key || ':' || n)) FROM generate_series(1, jsonb_array_length(p_entries)) AS n));
    END IF;
    SELECT jsonb_build_object('refused', 'grant_unknown', 'grant', e ->> 'grant_id') INTO v_problem
    FROM jsonb_array_elements(p_entries) AS e
    WHERE NOT EXISTS (SELECT FROM grants AS g WHERE g.id = e ->> 'grant_id') LIMIT 1;
    IF v_problem IS NULL THEN
        SELECT jsonb_build_object('refused', 'unbalanced', 'transfer_id', e #>> '{settlement,transfer_id}',
                                  'by_nanousd', sum((e ->> 'amount_nanousd')::bigint)) INTO v_problem
        FROM jsonb_array_elements(p_entries) AS e
        WHERE e ->> 'kind' = 'transfer'
        GROUP BY e #>> '{settlement,transfer_id}'
        HAVING sum((e ->> 'amount_nanousd')::bigint) <> 0 LIMIT 1;
    END IF;
    IF v_problem IS NOT NULL THEN
        RETURN v_problem;
    END IF;
    WITH posted AS (
        INSERT INTO entries (id, kind, amount_nanousd, grant_id, grant_path, node_ids, block_ids, class, owner, tags, vendor,
                             deployment, model_requested, model_served, tier, usage, usage_source, tokens, requests, periods,
                             settlement, note, held_at, recorded_at, billing_month, entry_hash)
        SELECT settlement_id(p_key || ':' || e.n), e.body ->> 'kind', (e.body ->> 'amount_nanousd')::bigint, g.id, g.path,
               path_ids(g.path), '{}', g.class, g.owner, coalesce(e.body -> 'tags', '{}'), e.body ->> 'vendor',
               e.body ->> 'deployment', e.body ->> 'model', e.body ->> 'model', e.body ->> 'tier',
               nullif(e.body -> 'usage', 'null'), CASE WHEN e.body ->> 'kind' = 'adjustment' THEN 'vendor' END,
               coalesce((e.body ->> 'tokens')::bigint, 0), coalesce((e.body ->> 'requests')::integer, 0), '[]',
               (e.body -> 'settlement') || jsonb_build_object('key', p_key || ':' || e.n, 'by', p_by, 'batch', v_digest),
               e.body ->> 'note', (e.body ->> 'held_at')::timestamptz, p_now,
               booked_month((e.body ->> 'held_at')::timestamptz), '\x'
        FROM jsonb_array_elements(p_entries) WITH ORDINALITY AS e (body, n)
        JOIN grants AS g ON g.id = e.body ->> 'grant_id'
        ORDER BY e.n
        RETURNING id, settlement ->> 'key' AS key
    )
    SELECT array_agg(p.id ORDER BY length(p.key), p.key) INTO v_ids FROM posted AS p;
    RETURN jsonb_build_object('repeated', false, 'posted', v_ids);
END
$$;

-- Every entry as two postings of double entry, each in an account; the postings of an entry sum to nothing.
--   grant:<id>    what a grant is charged          vendor:<name>   what a vendor is owed (below zero: owed)
--   transfers     what is on its way between two   debt:<grant>/<period>, lent:<grant>/<period>  a debt and who lent it
CREATE VIEW postings AS
SELECT e.seq, e.id AS entry_id, e.kind, e.held_at, e.billing_month, p.account, p.amount_nanousd
FROM entries AS e CROSS JOIN LATERAL (VALUES
    (CASE WHEN is_charged(e.kind, e.debtor_id) THEN 'grant:' || e.grant_id
          ELSE 'debt:' || e.debtor_id || '/' || e.debt_period END, e.amount_nanousd),
    (CASE WHEN e.kind = 'transfer' THEN 'transfers'
          WHEN is_charged(e.kind, e.debtor_id) THEN 'vendor:' || e.vendor
          ELSE 'lent:' || e.debtor_id || '/' || e.debt_period END, -e.amount_nanousd)) AS p (account, amount_nanousd);

-- The number up to which the ledger is complete: every entry up to it can be seen, and none will appear below it. Entries get their
-- number before their transaction ends, and every writer of entries shares the tree's lock until then; this waits for them. To be
-- called in a transaction of its own, as everybody else waits meanwhile.
CREATE FUNCTION settled_seq() RETURNS bigint
LANGUAGE plpgsql SET search_path = remit, pg_temp AS $$
BEGIN
    PERFORM lock_tree(true);
    RETURN (SELECT coalesce(max(seq), 0) FROM entries);
END
$$;

GRANT SELECT ON books, postings TO remit_authority, remit_reader;
GRANT EXECUTE ON FUNCTION post_entries(timestamptz, jsonb, text, text), settled_seq() TO remit_authority;
GRANT EXECUTE ON FUNCTION is_charged(text, text), booked_month(timestamptz) TO remit_authority, remit_reader;

RESET ROLE;
