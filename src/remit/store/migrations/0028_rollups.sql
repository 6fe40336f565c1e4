-- Sums of charges by hour and by day, kept as entries come: a report reads groups and not entries.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- One for each combination of what a report may group by. `dims` has every tag, and under the names of reports' dimensions what the
-- entries say; a dimension that they do not have is null. `key` is a digest of all of it.
CREATE TABLE rollup_series (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key bytea NOT NULL UNIQUE,
    grant_id text NOT NULL,
    node_ids text[] NOT NULL,
    dims jsonb NOT NULL
);

-- What the entries of a series, begun in an hour and booked in a month, come to. `suspense_nanousd` is what is still open of it.
CREATE TABLE rollup_hours (
    hour timestamptz NOT NULL CHECK (hour = date_trunc('hour', hour, 'UTC')),
    series_id integer NOT NULL REFERENCES rollup_series,
    billing_month date NOT NULL,
    entries bigint NOT NULL,
    requests bigint NOT NULL,
    retries bigint NOT NULL,
    tokens bigint NOT NULL,
    input_tokens bigint NOT NULL,
    cache_read_tokens bigint NOT NULL,
    cache_write_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    amount_nanousd bigint NOT NULL,
    suspense_nanousd bigint NOT NULL,
    PRIMARY KEY (hour, series_id, billing_month)
);
-- The same by the days of UTC.
CREATE TABLE rollup_days (LIKE rollup_hours INCLUDING CONSTRAINTS);
ALTER TABLE rollup_days DROP CONSTRAINT rollup_hours_hour_check;
ALTER TABLE rollup_days RENAME COLUMN hour TO day;
ALTER TABLE rollup_days ALTER COLUMN day TYPE date USING NULL, ADD PRIMARY KEY (day, series_id, billing_month),
    ADD FOREIGN KEY (series_id) REFERENCES rollup_series;
CREATE INDEX rollup_days_billing ON rollup_days (billing_month);

-- The number up to which entries are in the sums.
CREATE TABLE rollup_state (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    seq bigint NOT NULL
);
INSERT INTO rollup_state (seq) VALUES (0);

-- What each entry adds to a sum. A correction also takes what it corrects out of what is in suspense: for it there is a second row,
-- in the group of the entry in suspense, under the correction's own number.
CREATE VIEW entry_facts AS
SELECT e.seq, e.held_at, coalesce(e.billing_month, date_trunc('month', e.held_at AT TIME ZONE 'UTC')::date) AS billing_month,
       e.grant_id, e.grant_path, e.node_ids, e.class, e.owner, e.kind, e.tags, e.vendor, e.deployment,
       coalesce(e.model_served, e.model_requested) AS model, e.tier, 1 AS entries, e.requests,
       CASE WHEN e.attempt > 1 THEN e.requests ELSE 0 END AS retries, e.tokens,
       coalesce((e.usage ->> 'input_tokens')::bigint, 0) + coalesce((e.usage ->> 'input_audio_tokens')::bigint, 0) AS input_tokens,
       coalesce((e.usage ->> 'cache_read_tokens')::bigint, 0) AS cache_read_tokens,
       coalesce((e.usage ->> 'cache_write_tokens')::bigint, 0) AS cache_write_tokens,
       coalesce((e.usage ->> 'output_tokens')::bigint, 0) + coalesce((e.usage ->> 'output_audio_tokens')::bigint, 0)
           AS output_tokens,
       e.amount_nanousd, CASE WHEN e.kind = 'suspense' THEN e.amount_nanousd ELSE 0 END AS suspense_nanousd
FROM entries AS e
WHERE is_charged(e.kind, e.debtor_id)
UNION ALL
SELECT c.seq, s.held_at, coalesce(s.billing_month, date_trunc('month', s.held_at AT TIME ZONE 'UTC')::date), s.grant_id,
       s.grant_path, s.node_ids, s.class, s.owner, s.kind, s.tags, s.vendor, s.deployment,
       coalesce(s.model_served, s.model_requested), s.tier, 0, 0, 0, 0, 0, 0, 0, 0, 0, -s.amount_nanousd
FROM entries AS c JOIN entries AS s ON s.id = c.corrects
WHERE c.kind = 'correction';

-- What a report may group an entry by, times left out. A dimension wins over a tag of its name.
CREATE FUNCTION dims_of(p_tags jsonb, p_class text, p_owner text, p_kind text, p_path text, p_vendor text, p_deployment text,
                        p_model text, p_tier text) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT p_tags || jsonb_build_object('class', p_class, 'owner', p_owner, 'kind', p_kind, 'grant', p_path, 'vendor', p_vendor,
                                        'deployment', p_deployment, 'model', p_model, 'tier', p_tier)
$$;

CREATE TYPE rollup_fact AS (key bytea, grant_id text, node_ids text[], dims jsonb, hour timestamptz, billing_month date,
    entries bigint, requests bigint, retries bigint, tokens bigint, input_tokens bigint, cache_read_tokens bigint,
    cache_write_tokens bigint, output_tokens bigint, amount_nanousd bigint, suspense_nanousd bigint);

-- Adds the next entries to the sums, at most so many and none above p_until, which has to be a settled number (see settled_seq);
-- answers up to which number they are in. Each entry is added once, however often and from wherever this is called.
CREATE FUNCTION fold_entries(p_until bigint, p_at_most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' SET jit = off AS $$
DECLARE
    v_from bigint;
    v_to bigint;
    v_facts rollup_fact[];
BEGIN
    PERFORM pg_advisory_xact_lock(7237498);
    SELECT seq INTO STRICT v_from FROM rollup_state;
    SELECT max(n.seq) INTO v_to
    FROM (SELECT seq FROM entries WHERE seq > v_from AND seq <= p_until ORDER BY seq LIMIT p_at_most) AS n;
    IF v_to IS NULL THEN
        RETURN v_from;
    END IF;
    v_facts := ARRAY (
        SELECT (sha256(convert_to(jsonb_build_array(g.grant_id, g.node_ids, g.dims)::text, 'UTF8')), g.grant_id, g.node_ids,
                g.dims, g.hour, g.billing_month, g.entries, g.requests, g.retries, g.tokens, g.input_tokens,
                g.cache_read_tokens, g.cache_write_tokens, g.output_tokens, g.amount_nanousd, g.suspense_nanousd)::rollup_fact
        FROM (
            SELECT f.grant_id, f.node_ids,
                   dims_of(f.tags, f.class, f.owner, f.kind, f.grant_path, f.vendor, f.deployment, f.model, f.tier) AS dims,
                   date_trunc('hour', f.held_at) AS hour, f.billing_month, sum(f.entries) AS entries,
                   sum(f.requests) AS requests, sum(f.retries) AS retries, sum(f.tokens) AS tokens,
                   sum(f.input_tokens) AS input_tokens, sum(f.cache_read_tokens) AS cache_read_tokens,
                   sum(f.cache_write_tokens) AS cache_write_tokens, sum(f.output_tokens) AS output_tokens,
                   sum(f.amount_nanousd) AS amount_nanousd, sum(f.suspense_nanousd) AS suspense_nanousd
            FROM entry_facts AS f
            WHERE f.seq > v_from AND f.seq <= v_to
            GROUP BY f.grant_id, f.node_ids, f.tags, f.class, f.owner, f.kind, f.grant_path, f.vendor, f.deployment, f.model,
                     f.tier, date_trunc('hour', f.held_at), f.billing_month
        ) AS g);
    INSERT INTO rollup_series (key, grant_id, node_ids, dims)
    SELECT DISTINCT ON (f.key) f.key, f.grant_id, f.node_ids, f.dims
    FROM unnest(v_facts) AS f
    WHERE NOT EXISTS (SELECT FROM rollup_series AS s WHERE s.key = f.key);
    INSERT INTO rollup_hours AS r
    SELECT f.hour, s.id, f.billing_month, f.entries, f.requests, f.retries, f.tokens, f.input_tokens, f.cache_read_tokens,
           f.cache_write_tokens, f.output_tokens, f.amount_nanousd, f.suspense_nanousd
    FROM unnest(v_facts) AS f JOIN rollup_series AS s USING (key)
    ON CONFLICT (hour, series_id, billing_month) DO UPDATE SET
        (entries, requests, retries, tokens, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens,
         amount_nanousd, suspense_nanousd)
        = (r.entries + excluded.entries, r.requests + excluded.requests, r.retries + excluded.retries,
           r.tokens + excluded.tokens, r.input_tokens + excluded.input_tokens,
           r.cache_read_tokens + excluded.cache_read_tokens, r.cache_write_tokens + excluded.cache_write_tokens,
           r.output_tokens + excluded.output_tokens, r.amount_nanousd + excluded.amount_nanousd,
           r.suspense_nanousd + excluded.suspense_nanousd);
    INSERT INTO rollup_days AS r
    SELECT f.hour::date, s.id, f.billing_month, sum(f.entries), sum(f.requests), sum(f.retries), sum(f.tokens),
           sum(f.input_tokens), sum(f.cache_read_tokens), sum(f.cache_write_tokens), sum(f.output_tokens),
           sum(f.amount_nanousd), sum(f.suspense_nanousd)
    FROM unnest(v_facts) AS f JOIN rollup_series AS s USING (key)
    GROUP BY f.hour::date, s.id, f.billing_month
    ON CONFLICT (day, series_id, billing_month) DO UPDATE SET
        (entries, requests, retries, tokens, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens,
         amount_nanousd, suspense_nanousd)
        = (r.entries + excluded.entries, r.requests + excluded.requests, r.retries + excluded.retries,
           r.tokens + excluded.tokens, r.input_tokens + excluded.input_tokens,
           r.cache_read_tokens + excluded.cache_read_tokens, r.cache_write_tokens + excluded.cache_write_tokens,
           r.output_tokens + excluded.output_tokens, r.amount_nanousd + excluded.amount_nanousd,
           r.suspense_nanousd + excluded.suspense_nanousd);
    UPDATE rollup_state SET seq = v_to;
    RETURN v_to;
END
$$;

GRANT SELECT ON rollup_series, rollup_hours, rollup_days, rollup_state, entry_facts TO remit_authority, remit_reader;
GRANT EXECUTE ON FUNCTION fold_entries(bigint, integer) TO remit_authority;
GRANT EXECUTE ON FUNCTION dims_of(jsonb, text, text, text, text, text, text, text, text) TO remit_authority, remit_reader;

RESET ROLE;
