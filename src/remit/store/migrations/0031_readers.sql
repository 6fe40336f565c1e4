-- The ledger's three readers: views that stay as they are (schema `chargeback`), and who reads which of them.
--
-- A column is never taken away, renamed or given another type; new ones come at the end of a view. People's logins are members of one
-- of three roles without login (`remit db reader`), which have these views and nothing else: no table, and no function but the one
-- pure one that the views call and that nobody can name without a right to its schema.
CREATE SCHEMA chargeback AUTHORIZATION remit_owner;
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- What is charged by day or hour, as sums that are kept and what is not in them yet. Tags that have the name of a dimension are left
-- out: the dimension wins, as in reports.
CREATE VIEW charged_days AS
SELECT d.day, d.billing_month, s.grant_id, s.dims ->> 'grant' AS grant_path, s.dims ->> 'owner' AS owner, s.dims ->> 'class' AS class,
       s.dims ->> 'kind' AS kind, s.dims ->> 'vendor' AS vendor, s.dims ->> 'deployment' AS deployment, s.dims ->> 'model' AS model,
       s.dims ->> 'tier' AS tier, s.dims - '{class,owner,kind,grant,vendor,deployment,model,tier}'::text[] AS tags,
       d.entries, d.requests, d.retries, d.tokens, d.input_tokens, d.cache_read_tokens, d.cache_write_tokens, d.output_tokens,
       d.amount_nanousd, d.suspense_nanousd
FROM rollup_days AS d JOIN rollup_series AS s ON s.id = d.series_id
UNION ALL
SELECT (f.held_at AT TIME ZONE 'UTC')::date, f.billing_month, f.grant_id, f.grant_path, f.owner, f.class, f.kind, f.vendor,
       f.deployment, f.model, f.tier, f.tags - '{class,owner,kind,grant,vendor,deployment,model,tier}'::text[],
       f.entries, f.requests, f.retries, f.tokens, f.input_tokens, f.cache_read_tokens, f.cache_write_tokens, f.output_tokens,
       f.amount_nanousd, f.suspense_nanousd
FROM entry_facts AS f, rollup_state AS r
WHERE f.seq > r.seq;

CREATE VIEW charged_hours AS
SELECT h.hour, s.grant_id, s.dims ->> 'grant' AS grant_path, s.dims ->> 'owner' AS owner, s.dims ->> 'class' AS class,
       s.dims ->> 'kind' AS kind, s.dims ->> 'vendor' AS vendor, s.dims ->> 'deployment' AS deployment, s.dims ->> 'model' AS model,
       s.dims ->> 'tier' AS tier, s.dims - '{class,owner,kind,grant,vendor,deployment,model,tier}'::text[] AS tags,
       h.requests, h.retries, h.tokens, h.input_tokens, h.cache_read_tokens, h.cache_write_tokens, h.output_tokens,
       h.amount_nanousd, h.suspense_nanousd
FROM rollup_hours AS h JOIN rollup_series AS s ON s.id = h.series_id
UNION ALL
SELECT date_trunc('hour', f.held_at, 'UTC'), f.grant_id, f.grant_path, f.owner, f.class, f.kind, f.vendor, f.deployment, f.model,
       f.tier, f.tags - '{class,owner,kind,grant,vendor,deployment,model,tier}'::text[], f.requests, f.retries, f.tokens,
       f.input_tokens, f.cache_read_tokens, f.cache_write_tokens, f.output_tokens, f.amount_nanousd, f.suspense_nanousd
FROM entry_facts AS f, rollup_state AS r
WHERE f.seq > r.seq;

-- For all three ------------------------------------------------------------------------------------------------------

CREATE VIEW chargeback.grants WITH (security_barrier) AS
SELECT g.id AS grant_id, g.path AS grant_path, g.parent_id, g.owner, g.class, g.status, g.starts_at, g.expires_at, g.revision
FROM grants AS g;

-- Engineering --------------------------------------------------------------------------------------------------------

CREATE VIEW chargeback.usage_days WITH (security_barrier) AS
SELECT c.day, c.grant_id, c.grant_path, c.owner, c.class, c.kind, c.vendor, c.deployment, c.model, c.tier, c.tags ->> 'team' AS team,
       c.tags ->> 'feature' AS feature, c.tags ->> 'experiment' AS experiment, c.tags ->> 'environment' AS environment, c.tags,
       c.requests, c.retries, c.tokens, c.input_tokens, c.cache_read_tokens, c.cache_write_tokens, c.output_tokens,
       c.amount_nanousd, round(c.amount_nanousd / 1000000000::numeric, 9) AS amount_usd, c.suspense_nanousd
FROM charged_days AS c;

CREATE VIEW chargeback.usage_hours WITH (security_barrier) AS
SELECT c.hour, c.grant_id, c.grant_path, c.owner, c.class, c.kind, c.vendor, c.deployment, c.model, c.tier, c.tags ->> 'team' AS team,
       c.tags ->> 'feature' AS feature, c.tags ->> 'experiment' AS experiment, c.tags ->> 'environment' AS environment, c.tags,
       c.requests, c.retries, c.tokens, c.input_tokens, c.cache_read_tokens, c.cache_write_tokens, c.output_tokens,
       c.amount_nanousd, round(c.amount_nanousd / 1000000000::numeric, 9) AS amount_usd, c.suspense_nanousd
FROM charged_hours AS c;

CREATE VIEW chargeback.calls WITH (security_barrier) AS
SELECT e.seq, e.id AS entry_id, e.kind, e.held_at, e.recorded_at, e.operation_id, e.request_id, e.trace_id, e.attempt, e.grant_id,
       e.grant_path, e.owner, e.class, e.tags, e.vendor, e.deployment, e.model_requested, e.model_served, e.tier, e.usage_source,
       e.requests, e.tokens, (e.usage ->> 'input_tokens')::bigint AS input_tokens,
       (e.usage ->> 'cache_read_tokens')::bigint AS cache_read_tokens, (e.usage ->> 'cache_write_tokens')::bigint AS cache_write_tokens,
       (e.usage ->> 'output_tokens')::bigint AS output_tokens, (e.usage ->> 'input_audio_tokens')::bigint AS input_audio_tokens,
       (e.usage ->> 'output_audio_tokens')::bigint AS output_audio_tokens, e.amount_nanousd,
       round(e.amount_nanousd / 1000000000::numeric, 9) AS amount_usd
FROM entries AS e
WHERE e.kind IN ('usage', 'overage', 'suspense', 'correction');

CREATE VIEW chargeback.limits WITH (security_barrier) AS
SELECT g.id AS grant_id, g.path AS grant_path, g.owner, b.dimension, b.period_kind AS period, b.period_start, b.period_end,
       b.target AS limit_amount, b.posted + b.overage AS posted, b.held, b.overdraft_limit, b.overdraft_posted
FROM buckets AS b JOIN grants AS g ON g.id = b.node_id
WHERE b.period_kind NOT IN ('minute', 'inflight');

-- Finance ------------------------------------------------------------------------------------------------------------

CREATE VIEW chargeback.charges WITH (security_barrier) AS
SELECT c.day, c.billing_month, c.owner, c.grant_id, c.grant_path, c.class, c.kind, c.vendor, c.model, c.tier,
       c.tags ->> 'team' AS team, c.tags ->> 'feature' AS feature, c.tags ->> 'experiment' AS experiment,
       c.tags ->> 'environment' AS environment, c.tags, c.entries, c.requests, c.amount_nanousd,
       round(c.amount_nanousd / 1000000000::numeric, 9) AS amount_usd, c.suspense_nanousd
FROM charged_days AS c;

CREATE VIEW chargeback.months WITH (security_barrier) AS
SELECT coalesce(m.month, c.month) AS month, coalesce(m.status, 'open') AS status, m.revision, m.changed_at, m.changed_by, m.reason,
       coalesce(c.charged, 0) AS charged_nanousd, coalesce(c.suspense, 0) AS suspense_nanousd,
       CASE m.status WHEN 'closed' THEN (m.totals ->> 'charged_nanousd')::bigint END AS signed_off_nanousd
FROM billing_months AS m
FULL JOIN (SELECT d.billing_month AS month, sum(d.amount_nanousd)::bigint AS charged, sum(d.suspense_nanousd)::bigint AS suspense
           FROM charged_days AS d GROUP BY d.billing_month) AS c ON c.month = m.month;

CREATE VIEW chargeback.bills WITH (security_barrier) AS
SELECT m.month, b.bill ->> 'vendor' AS vendor, b.bill ->> 'invoice_id' AS invoice_id, b.bill ->> 'statement_id' AS statement_id,
       (b.bill ->> 'total_nanousd')::bigint AS amount_nanousd,
       round((b.bill ->> 'total_nanousd')::bigint / 1000000000::numeric, 9) AS amount_usd
FROM billing_months AS m CROSS JOIN LATERAL jsonb_array_elements(m.totals -> 'bills') AS b (bill)
WHERE m.status = 'closed';

CREATE VIEW chargeback.vendor_months WITH (security_barrier) AS
SELECT o.month, o.vendor, o.owed AS owed_nanousd, o.suspense AS suspense_nanousd, b.billed AS billed_nanousd
FROM (SELECT d.billing_month AS month, d.vendor, sum(d.amount_nanousd)::bigint AS owed, sum(d.suspense_nanousd)::bigint AS suspense
      FROM charged_days AS d WHERE d.kind <> 'transfer' GROUP BY d.billing_month, d.vendor) AS o
LEFT JOIN (SELECT month, vendor, sum(amount_nanousd)::bigint AS billed FROM chargeback.bills GROUP BY month, vendor) AS b
    ON b.month = o.month AND b.vendor = o.vendor;

CREATE VIEW chargeback.adjustments WITH (security_barrier) AS
SELECT e.seq, e.id AS entry_id, e.held_at, e.recorded_at, coalesce(e.billing_month, date_trunc('month', e.held_at, 'UTC')::date) AS billing_month,
       e.grant_id, e.grant_path, e.owner, e.tags, e.vendor, e.model_served AS model, e.settlement ->> 'cause' AS cause, e.note,
       e.settlement ->> 'by' AS booked_by, e.amount_nanousd, round(e.amount_nanousd / 1000000000::numeric, 9) AS amount_usd
FROM entries AS e
WHERE e.kind = 'adjustment' AND e.debtor_id IS NULL;

CREATE VIEW chargeback.transfers WITH (security_barrier) AS
SELECT e.seq, e.id AS entry_id, e.settlement ->> 'transfer_id' AS transfer_id, e.held_at, e.recorded_at,
       coalesce(e.billing_month, date_trunc('month', e.held_at, 'UTC')::date) AS billing_month, e.grant_id, e.grant_path, e.owner, e.tags,
       e.settlement ->> 'rule' AS rule, e.settlement ->> 'method' AS method, e.note, e.settlement ->> 'by' AS booked_by,
       e.amount_nanousd, round(e.amount_nanousd / 1000000000::numeric, 9) AS amount_usd
FROM entries AS e
WHERE e.kind = 'transfer';

CREATE VIEW chargeback.debts WITH (security_barrier) AS
SELECT e.debtor_id AS grant_id, g.path AS grant_path, g.owner, e.debt_period AS period,
       coalesce(sum(e.amount_nanousd) FILTER (WHERE e.settlement IS NULL), 0)::bigint AS made_nanousd,
       coalesce(-sum(e.amount_nanousd) FILTER (WHERE e.settlement IS NOT NULL AND e.kind = 'repayment'), 0)::bigint AS repaid_nanousd,
       coalesce(-sum(e.amount_nanousd) FILTER (WHERE e.kind = 'adjustment'), 0)::bigint AS forgiven_nanousd,
       sum(e.amount_nanousd)::bigint AS outstanding_nanousd
FROM entries AS e JOIN grants AS g ON g.id = e.debtor_id
GROUP BY e.debtor_id, g.path, g.owner, e.debt_period;

CREATE VIEW chargeback.coverage WITH (security_barrier) AS
SELECT c.billing_month, t.tag, sum(c.requests)::bigint AS requests,
       coalesce(sum(c.requests) FILTER (WHERE c.tags ? t.tag), 0)::bigint AS requests_with,
       sum(c.amount_nanousd)::bigint AS charged_nanousd,
       coalesce(sum(c.amount_nanousd) FILTER (WHERE c.tags ? t.tag), 0)::bigint AS charged_with_nanousd
FROM charged_days AS c CROSS JOIN unnest('{team,feature,experiment,environment,tenant}'::text[]) AS t (tag)
GROUP BY c.billing_month, t.tag;

-- Security -----------------------------------------------------------------------------------------------------------

CREATE VIEW chargeback.holders WITH (security_barrier) AS
SELECT k.id AS holder_id, 'access_key' AS kind, k.rotated_from AS parent_id, k.grant_id, g.path AS grant_path, g.owner, k.name,
       k.created_by AS issued_by, k.created_at AS issued_at, k.expires_at, NULL::timestamptz AS first_used_at,
       k.revoked_at, k.revoked_by
FROM access_keys AS k JOIN grants AS g ON g.id = k.grant_id
UNION ALL
SELECT b.id, 'capability', b.parent_id, b.grant_id, g.path, g.owner, b.purpose, b.issued_by, b.issued_at, b.not_after, b.first_held_at,
       r.revoked_at, r.revoked_by
FROM capability_blocks AS b JOIN grants AS g ON g.id = b.grant_id
LEFT JOIN LATERAL (SELECT x.revoked_at, x.revoked_by FROM revocations AS x
                   WHERE x.kind = 'block' AND x.subject = b.id ORDER BY x.seq LIMIT 1) AS r ON true;

CREATE VIEW chargeback.decisions WITH (security_barrier) AS
SELECT e.seq, e.held_at, e.decision_id, e.policy_version, e.hold_id, e.request_id, e.operation_id, e.trace_id, e.grant_id, e.grant_path,
       e.owner, e.class, e.block_ids, e.tags, e.tag_conflicts, e.vendor, e.deployment, e.model_requested, e.model_served,
       e.vendor_request_id
FROM entries AS e
WHERE e.kind IN ('usage', 'suspense');

CREATE VIEW chargeback.refusals WITH (security_barrier) AS
SELECT a.day, a.grant_id, g.path AS grant_path, a.kind, a.subject, a.tag, a.value, a.count, a.first_seen, a.last_seen
FROM security_attempts AS a LEFT JOIN grants AS g ON g.id = a.grant_id;

CREATE VIEW chargeback.revocations WITH (security_barrier) AS
SELECT r.seq, r.id AS revocation_id, r.kind, r.subject, r.grant_id, g.path AS grant_path, r.cut_streams, r.issued_before,
       r.tree_revision, r.revoked_at, r.revoked_by, r.reason
FROM revocations AS r LEFT JOIN grants AS g ON g.id = r.grant_id;

CREATE VIEW chargeback.trips WITH (security_barrier) AS
SELECT t.seq, t.id AS trip_id, t.grant_id, g.path AS grant_path, t.scope, t.subject, t.rule, t.calls, t.tags, t.mode, t.tripped_at,
       t.until, e.ended_at, e.ended_by, e.reason AS end_reason
FROM trips AS t JOIN grants AS g ON g.id = t.grant_id LEFT JOIN trip_ends AS e ON e.trip_id = t.id;

CREATE VIEW chargeback.audit WITH (security_barrier) AS
SELECT a.seq, a.at, a.recorded_at, a.actor, a.operation, a.reason, a.source, a.outcome, a.subject_kind, a.subject_id, a.grant_id,
       a.path AS grant_path,
       ARRAY (SELECT k FROM jsonb_object_keys(CASE WHEN jsonb_typeof(a.after) = 'object' THEN a.after ELSE '{}' END
                                              || CASE WHEN jsonb_typeof(a.before) = 'object' THEN a.before ELSE '{}' END) AS k
              WHERE a.before -> k IS DISTINCT FROM a.after -> k ORDER BY k) AS changed,
       ARRAY (SELECT p ->> 'code' FROM jsonb_array_elements(a.problems) AS p) AS problems
FROM audit AS a;

CREATE VIEW chargeback.roles WITH (security_barrier) AS
SELECT b.id AS binding_id, b.person, p.status AS person_status, b.role, b.grant_id, g.path AS grant_path, b.source, b.created_at,
       b.created_by, b.ended_at, b.ended_by
FROM role_bindings AS b JOIN people AS p ON p.name = b.person LEFT JOIN grants AS g ON g.id = b.grant_id;

CREATE VIEW chargeback.tickets WITH (security_barrier) AS
SELECT t.id AS ticket_id, t.kind, t.grant_id, t.path AS grant_path, t.requester, t.reason, t.state, t.needed, t.assignees, t.approved_by,
       t.opened_at, t.due_at, t.expires_at, t.decided_at, t.decided_by, t.decision_reason
FROM tickets AS t;

-- Who reads what -----------------------------------------------------------------------------------------------------

GRANT USAGE ON SCHEMA chargeback TO remit_engineering, remit_finance, remit_security;
GRANT SELECT ON chargeback.grants TO remit_engineering, remit_finance, remit_security;
GRANT SELECT ON chargeback.usage_days, chargeback.usage_hours, chargeback.calls, chargeback.limits TO remit_engineering;
GRANT SELECT ON chargeback.limits, chargeback.charges, chargeback.months, chargeback.vendor_months, chargeback.bills,
    chargeback.adjustments, chargeback.transfers, chargeback.debts, chargeback.coverage TO remit_finance;
GRANT SELECT ON chargeback.holders, chargeback.decisions, chargeback.refusals, chargeback.revocations, chargeback.trips,
    chargeback.audit, chargeback.roles, chargeback.tickets TO remit_security;
-- A view's functions are called with the rights of who reads the view.
GRANT EXECUTE ON FUNCTION is_charged(text, text) TO remit_engineering, remit_finance, remit_security;

-- What each view and column means: the data dictionary is printed from here ------------------------------------------

DO $$
DECLARE
    -- Of columns that mean the same wherever they are.
    v_common CONSTANT jsonb := $j$ {
        "grant_id": "Id of the grant; it never changes", "grant_path": "Path of the grant in the tree, root first",
        "owner": "Who answers for the grant: in views of the ledger when it was charged, elsewhere now",
        "class": "production or experimentation", "vendor": "Who serves the model and is owed; null of transfers",
        "deployment": "The deployment of the settings that the call went to",
            "model": "The model that was served, or else the one asked for",
        "model_requested": "The model that was asked for", "model_served": "The model the vendor says it served; null where it did not say",
        "tier": "The vendor's service tier; null where it has none", "tags": "Every tag of the charge, by name",
        "team": "The tag team; null without it", "feature": "The tag feature; null without it",
            "experiment": "The tag experiment; null without it",
        "environment": "The tag environment; null without it", "seq": "Number in the order of recording; grows, with gaps",
        "entry_id": "Id of the ledger's entry", "held_at": "When the call was begun, or what is booked was used",
        "recorded_at": "When it was recorded", "billing_month": "First day of the month it is booked in",
        "requests": "Settled calls", "retries": "Those of them that their caller's library numbered as a later attempt",
        "tokens": "All tokens; of a call in suspense the bound it was booked at",
            "input_tokens": "Input that was neither read from a cache nor written to one",
        "cache_read_tokens": "Input read from the vendor's cache", "cache_write_tokens": "Input written to the vendor's cache",
        "output_tokens": "Output, reasoning included", "amount_nanousd": "Amount in billionths of a US dollar, exact",
        "amount_usd": "The same in US dollars, exact to nine decimals",
        "suspense_nanousd": "The part of the amount that is an upper bound and not a fact yet",
            "operation_id": "The operation a call belongs to; retries share it",
        "request_id": "Id of the request, as answered to the caller", "trace_id": "The caller's trace, where one was sent",
        "reason": "Why, in the words of who did it", "note": "What was noted with it", "booked_by": "Who booked it",
        "day": "Day of UTC", "month": "First day of the month, of UTC", "period": "Kind of period: day, week, month, quarter or once",
        "parent_id": "What it was made of; null where it was made of nothing",
            "issued_before": "For an issuer: what it signed before this instant",
        "subject": "What it is about: a public id, by kind", "status": "Where it stands"
    } $j$;
    v_views CONSTANT jsonb := $j$ {
        "grants": {"": "The tree of grants as it is now", "parent_id": "Id of the grant above; null at a root",
            "status": "requested, active, suspended, expired or revoked", "starts_at": "From when on it can be used; null for always",
            "expires_at": "Until when it can be used", "revision": "Which revision of the grant this is"},
        "usage_days": {"": "What was used by day, as sums: several rows of one group are to be added up",
            "kind": "usage, overage, suspense, correction; adjustment and transfer belong to no call"},
        "usage_hours": {"": "What was used by hour, as sums: several rows of one group are to be added up",
            "hour": "First instant of the hour",
            "kind": "usage, overage, suspense, correction; adjustment and transfer belong to no call"},
        "calls": {"": "Entries of calls, one by one: what each cost and used",
            "kind": "usage, overage beyond the ceiling, suspense at the ceiling, or the correction of a suspense",
            "attempt": "Which attempt at its operation, from 1; null where it is not known",
            "usage_source": "vendor, recovered or estimated",
            "input_tokens": "Input that was neither read from a cache nor written to one; null where usage is not stated",
            "cache_read_tokens": "Input read from the vendor's cache; null where usage is not stated",
            "cache_write_tokens": "Input written to the vendor's cache; null where usage is not stated",
            "output_tokens": "Output, reasoning included; null where usage is not stated",
            "input_audio_tokens": "Audio input; null where usage is not stated",
            "output_audio_tokens": "Audio output; null where usage is not stated"},
        "limits": {"": "Each limit of a grant in each period it was used in; a limit nobody used in a period has no row",
            "dimension": "usd (in nano-dollars), tokens or requests",
            "period_start": "First instant of the period, in the grant's calendar", "period_end": "First instant after it",
            "limit_amount": "What may be spent in the period", "posted": "What was spent, beyond ceilings included",
            "held": "What running calls may still cost", "overdraft_limit": "What the overdraft may lend in the period",
            "overdraft_posted": "What it lent"},
        "charges": {"": "What owners are charged, by day and month of the books, as sums: several rows of one group are to be added up",
            "kind": "usage, overage, suspense, correction, adjustment or transfer", "entries": "How many entries are in the sum"},
        "months": {"": "Months of the books", "status": "open or closed",
            "revision": "How often it was closed or opened again; null where never",
            "changed_at": "When it was closed or opened again last", "changed_by": "By whom",
            "charged_nanousd": "What is booked in it, in nano-dollars",
            "signed_off_nanousd": "What was signed off when it was closed; null while it is open"},
        "bills": {"": "Vendors' bills that closed months were signed off with", "vendor": "Who billed",
            "invoice_id": "The vendor's invoice", "statement_id": "The statement it was compared with; null without one",
            "amount_nanousd": "Total of the bill, in nano-dollars", "amount_usd": "The same in US dollars"},
        "vendor_months": {"": "What each vendor is owed by month of the books",
            "owed_nanousd": "What calls and adjustments come to, in nano-dollars",
            "billed_nanousd": "What the vendor billed; null where no bill is signed off"},
        "adjustments": {"": "What vendors charge otherwise than was metered, entry by entry", "cause": "Why it differs",
            "amount_nanousd": "More (above zero) or less than was metered, in nano-dollars",
            "model": "The model it is about; null where it is about none"},
        "transfers": {"": "Charges moved between grants or tags; the rows of one transfer sum to nothing",
            "transfer_id": "Which rows belong together", "rule": "By which rule it was divided", "method": "How the rule divides",
            "amount_nanousd": "What the grant is charged more (above zero) or less, in nano-dollars"},
        "debts": {"": "What overdrafts lent, by grant and kind of period",
            "made_nanousd": "What was lent, less what evidence showed was not needed",
            "repaid_nanousd": "What came back out of later periods", "forgiven_nanousd": "What a person forgave",
            "outstanding_nanousd": "What is still owed: made less repaid less forgiven"},
        "coverage": {"": "How much of a month carries a tag", "tag": "Name of the tag: team, feature, experiment, environment or tenant",
            "requests_with": "Calls that carry it", "charged_nanousd": "What is booked in the month, in nano-dollars",
            "charged_with_nanousd": "The part of it that carries the tag"},
        "holders": {"": "Credentials by public id: access keys, and blocks of capabilities that were issued or seen",
            "holder_id": "Public id of the key or block; no secret can be made of it", "kind": "access_key or capability",
            "parent_id": "The key it was rotated from, or the block above it; null where there is none",
            "name": "Name of the key, or purpose of the capability", "issued_by": "Who made it; null of what a holder made offline",
            "issued_at": "When it was made", "expires_at": "Until when it is valid",
            "first_used_at": "When a block was first seen at a gateway; not known of keys",
            "revoked_at": "When it was revoked; null where it was not by itself (its grant may be)", "revoked_by": "By whom"},
        "decisions": {"": "Requests that were let through: who held what, decided how; no amounts",
            "decision_id": "Id of the decision, as in the gateway's log", "policy_version": "The state of the tree it was decided on",
            "hold_id": "Id of the hold that was taken for it", "block_ids": "Blocks of the capability that was shown, root first",
            "tag_conflicts": "Tags the caller claimed and the grant fixes otherwise; null where none",
            "vendor_request_id": "The vendor's id of the call; null where it stated none"},
        "refusals": {"": "How often holders were refused or tried what is not theirs, by day",
            "kind": "What was tried, or refused_ and the code of the refusal",
            "subject": "Public id of the holder; empty where it is not kept", "tag": "The tag it is about; empty where none",
            "value": "The value that was claimed; empty where none", "count": "How often", "first_seen": "First time of that day",
            "last_seen": "Last time of that day"},
        "revocations": {"": "What was revoked, by whom and why", "revocation_id": "Id of the revocation",
            "kind": "block, key, grant or issuer", "cut_streams": "Whether running answers were ended too",
            "tree_revision": "The state of the tree from which on it holds", "revoked_at": "When", "revoked_by": "By whom",
            "grant_id": "The grant it concerns; null of an issuer", "grant_path": "Its path; null of an issuer"},
        "trips": {"": "Times the runaway breaker tripped, and who ended them", "trip_id": "Id of the trip",
            "scope": "grant, block or operation", "subject": "What was stopped, by scope", "rule": "calls, spend, repetition or depth",
            "calls": "Calls in the window that tripped it", "tags": "Tags that most of these calls share", "mode": "throttle or stop",
            "tripped_at": "When it tripped", "until": "Until when it holds unless ended",
            "ended_at": "When a person ended it; null where none did", "ended_by": "Who ended it", "end_reason": "Why"},
        "audit": {"": "Who wrote what: every change of authority and every refused write; what it was before and after is for `GET /v1/audit`",
            "at": "When, by Remit's clock", "actor": "Who", "operation": "What they did",
            "source": "By which door: command, api, upkeep, hook or start", "outcome": "done or refused",
            "subject_kind": "Kind of what was written", "subject_id": "Its public id",
            "grant_id": "The grant it concerns; null where none", "grant_path": "Its path then",
            "changed": "Names of the fields that were changed", "problems": "Codes of why it was refused; empty where it was not"},
        "roles": {"": "Who has or had which role", "binding_id": "Id of the binding", "person": "Who", "person_status": "active or left",
            "role": "Which role", "grant_id": "The grant it is bound to; null for the whole organization", "grant_path": "Its path",
            "source": "Where it comes from: command, oidc or scim", "created_at": "Since when", "created_by": "Given by whom",
            "ended_at": "Until when; null while it lasts", "ended_by": "Ended by whom"},
        "tickets": {"": "Who asked for what kind of change, and who decided; no amounts", "ticket_id": "Id of the ticket",
            "kind": "grant, renew, increase, transfer, break_glass, debt or finding",
            "grant_id": "The grant it is about; null of one that is asked for", "requester": "Who asked",
            "state": "open, approved, declined, withdrawn or expired", "needed": "How many have to approve", "assignees": "Who is asked",
            "approved_by": "Who has approved so far", "opened_at": "When it was opened", "due_at": "When it is passed on",
            "expires_at": "When silence ends it", "decided_at": "When it was decided; null while it is open", "decided_by": "By whom",
            "decision_reason": "Why"}
    } $j$;
    v_column record;
    v_comment text;
BEGIN
    FOR v_column IN
        SELECT c.relname AS view, a.attname AS name, a.attnum AS number
        FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
        WHERE c.relnamespace = 'chargeback'::regnamespace AND c.relkind = 'v'
        ORDER BY c.relname, a.attnum
    LOOP
        IF v_column.number = 1 THEN
            EXECUTE format('COMMENT ON VIEW chargeback.%I IS %L', v_column.view, v_views -> v_column.view ->> '');
        END IF;
        v_comment := coalesce(v_views -> v_column.view ->> v_column.name, v_common ->> v_column.name);
        IF v_comment IS NULL THEN
            RAISE EXCEPTION 'nothing says what %.% means', v_column.view, v_column.name;
        END IF;
        EXECUTE format('COMMENT ON COLUMN chargeback.%I.%I IS %L', v_column.view, v_column.name, v_comment);
    END LOOP;
END
$$;
COMMENT ON SCHEMA chargeback IS 'The ledger as engineering, finance and security read it; columns are added and never taken away';

RESET ROLE;
