-- What the runaway breaker of gateways tripped, how it ended, and what is counted for the security people.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- A trip of a grant, of a block of its capabilities or of an operation its callers named: never changed, never removed. It is
-- in effect until its time is up or a person ends it. `rule` and the numbers say why: `measured` against `allowed`.
CREATE TABLE trips (
    seq         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          text NOT NULL UNIQUE CHECK (id ~ '^trip_[0-9a-z]{26}$'),
    grant_id    text NOT NULL REFERENCES grants (id),
    scope       text NOT NULL CHECK (scope IN ('grant', 'block', 'operation')),
    subject     text NOT NULL CHECK (length(subject) BETWEEN 1 AND 200),
    rule        text NOT NULL CHECK (rule IN ('calls', 'spend', 'repetition', 'depth')),
    measured    bigint NOT NULL CHECK (measured >= 0),
    allowed     bigint NOT NULL CHECK (allowed >= 0),
    calls       bigint NOT NULL CHECK (calls >= 0),
    tags        jsonb NOT NULL,
    mode        text NOT NULL CHECK (mode IN ('throttle', 'stop')),
    tripped_at  timestamptz NOT NULL,
    until       timestamptz NOT NULL CHECK (until > tripped_at),
    tree_revision bigint NOT NULL,
    CONSTRAINT a_grant_is_its_own_subject CHECK (scope <> 'grant' OR subject = grant_id)
);
CREATE INDEX trips_subject ON trips (grant_id, scope, subject, tripped_at);
CREATE INDEX trips_until ON trips (until);
CREATE TRIGGER trips_bump AFTER INSERT ON trips FOR EACH STATEMENT EXECUTE FUNCTION bump_tree_revision();
CREATE TRIGGER trips_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON trips
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();

-- A person ended a trip before its time.
CREATE TABLE trip_ends (
    trip_id  text PRIMARY KEY REFERENCES trips (id),
    ended_at timestamptz NOT NULL,
    ended_by text NOT NULL,
    reason   text NOT NULL
);
CREATE TRIGGER trip_ends_bump AFTER INSERT ON trip_ends FOR EACH STATEMENT EXECUTE FUNCTION bump_tree_revision();
CREATE TRIGGER trip_ends_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON trip_ends
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_history();

-- The trip of a scope that is in effect, NULL where there is none.
CREATE FUNCTION living_trip(p_grant_id text, p_scope text, p_subject text, p_now timestamptz) RETURNS trips
LANGUAGE sql STABLE SET search_path = remit, pg_temp AS $$
    SELECT t FROM trips AS t
    WHERE (t.grant_id, t.scope, t.subject) = (p_grant_id, p_scope, p_subject) AND t.until > p_now
      AND NOT EXISTS (SELECT FROM trip_ends AS e WHERE e.trip_id = t.id)
    ORDER BY t.seq LIMIT 1
$$;

-- A gateway trips its breaker: {"id", "grant_id", "scope", "subject", "rule", "measured", "allowed", "calls", "tags",
-- "cool_down_seconds", "cool_down_max_seconds"}. What of it is in effect, {"id", "until", "revision"}: of one scope one trip is,
-- whichever gateway was first, so that people hear of it once. NULL where there is no such grant. The mode follows from the
-- grant's class, not from what a gateway says. The time doubles with each trip of the last day that nobody ended. A gateway can
-- only trip, for an hour a time to begin with and for a day at the longest; a grant with a hundred trips in effect trips as
-- a whole, so that no caller can fill the table with names.
CREATE FUNCTION trip_breaker(p_now timestamptz, p_trip jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_grant grants;
    v_trip trips;
    v_scope text := p_trip ->> 'scope';
    v_subject text := p_trip ->> 'subject';
    v_before integer;
    v_number integer;
    v_seconds double precision := least(greatest((p_trip ->> 'cool_down_seconds')::integer, 1), 3600);
    v_most double precision := least(greatest((p_trip ->> 'cool_down_max_seconds')::integer, 1), 86400);
BEGIN
    -- First, as everybody takes this lock before any other: one trip at a time.
    PERFORM lock_tree(true);
    SELECT * INTO v_grant FROM grants WHERE id = p_trip ->> 'grant_id';
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF (SELECT count(*) >= 100 FROM trips AS t
        WHERE t.grant_id = v_grant.id AND t.until > p_now
          AND NOT EXISTS (SELECT FROM trip_ends AS e WHERE e.trip_id = t.id)) THEN
        v_scope := 'grant';
        v_subject := v_grant.id;
    END IF;
    v_trip := living_trip(v_grant.id, v_scope, v_subject, p_now);
    IF v_trip.id IS NOT NULL THEN
        RETURN jsonb_build_object('id', v_trip.id, 'until', v_trip.until, 'revision', v_trip.tree_revision,
                                  'scope', v_scope, 'subject', v_subject, 'mode', v_trip.mode);
    END IF;
    IF jsonb_typeof(p_trip -> 'tags') IS DISTINCT FROM 'object' OR length((p_trip -> 'tags')::text) > 4096 THEN
        RAISE EXCEPTION 'the tags of a trip are an object of at most 4,096 characters' USING ERRCODE = 'check_violation';
    END IF;
    SELECT count(*) INTO v_before FROM trips AS t
    WHERE (t.grant_id, t.scope, t.subject) = (v_grant.id, v_scope, v_subject) AND t.tripped_at > p_now - interval '1 day'
      AND NOT EXISTS (SELECT FROM trip_ends AS e WHERE e.trip_id = t.id);
    SELECT count(*) + 1 INTO v_number FROM trips AS t WHERE t.grant_id = v_grant.id;
    v_seconds := least(v_seconds * 2 ^ least(v_before, 16), v_most);
    INSERT INTO trips (id, grant_id, scope, subject, rule, measured, allowed, calls, tags, mode, tripped_at, until,
                       tree_revision)
    VALUES (p_trip ->> 'id', v_grant.id, v_scope, v_subject, p_trip ->> 'rule', (p_trip ->> 'measured')::bigint,
            (p_trip ->> 'allowed')::bigint, (p_trip ->> 'calls')::bigint, p_trip -> 'tags',
            CASE v_grant.class WHEN 'production' THEN 'throttle' ELSE 'stop' END,
            p_now, p_now + make_interval(secs => v_seconds), (SELECT revision + 1 FROM tree_state))
    RETURNING * INTO v_trip;
    INSERT INTO notifications (kind, audience, node_id, threshold, period_kind, period_start, body, created_at,
                               next_attempt_at)
    VALUES ('runaway', CASE v_grant.class WHEN 'production' THEN 'on_call' ELSE 'owner' END, v_grant.id, v_number, 'trip',
            p_now, jsonb_build_object(
                'path', v_grant.path, 'owner', v_grant.owner, 'class', v_grant.class, 'trip', v_trip.id,
                'scope', v_scope, 'subject', v_subject, 'rule', v_trip.rule, 'measured', v_trip.measured,
                'allowed', v_trip.allowed, 'calls', v_trip.calls, 'tags', v_trip.tags, 'mode', v_trip.mode,
                'until', v_trip.until,
                'detail', format('runaway: %s %s, %s over %s by the rule `%s`, %s until %s', v_scope, left(v_subject, 40),
                                 v_trip.measured, v_trip.allowed, v_trip.rule,
                                 CASE v_trip.mode WHEN 'stop' THEN 'stopped' ELSE 'throttled' END,
                                 to_char(v_trip.until, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))),
            p_now, p_now);
    RETURN jsonb_build_object('id', v_trip.id, 'until', v_trip.until, 'revision', v_trip.tree_revision, 'scope', v_scope,
                              'subject', v_subject, 'mode', v_trip.mode);
END
$$;

-- The security feed -----------------------------------------------------------------------------------------------

-- How often somebody tried what is not theirs to do, per day. `subject` is an access key or the first block of a
-- capability, which the issuer made: never what the caller says. `tag` and `value` are the caller's words where they are what is
-- wrong, and empty elsewhere. A row `(others)` counts what has no place of its own.
CREATE TABLE security_attempts (
    day        date NOT NULL,
    grant_id   text NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('class_mismatch', 'tag_conflict', 'capability_revoked', 'surface_not_allowed',
                                             'stopped')),
    subject    text NOT NULL CHECK (length(subject) <= 100),
    tag        text NOT NULL CHECK (length(tag) <= 128),
    value      text NOT NULL CHECK (length(value) <= 128),
    count      bigint NOT NULL CHECK (count > 0),
    first_seen timestamptz NOT NULL,
    last_seen  timestamptz NOT NULL CHECK (last_seen >= first_seen),
    PRIMARY KEY (day, grant_id, kind, subject, tag, value)
);
CREATE INDEX security_attempts_grant ON security_attempts (grant_id, day);

-- A gateway adds what it counted: [{"grant_id", "kind", "subject", "tag", "value", "count", "first", "last"}, ...], 2,000 at
-- most. It can add to counts and nothing else. Of one subject 50 values a day have a row of their own, of one grant
-- 2,000 rows; whatever is beyond counts as `(others)`: nothing is lost, and no one holder's words crowd out another's.
CREATE FUNCTION note_attempts(p_rows jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = remit, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    r record;
    v_subject text;
    v_tag text;
    v_value text;
    v_known boolean;
BEGIN
    IF jsonb_array_length(p_rows) > 2000 THEN
        RAISE EXCEPTION 'more than 2,000 counts at once' USING ERRCODE = 'check_violation';
    END IF;
    -- One at a time, so that the bounds hold and nobody waits for each other crosswise.
    PERFORM pg_advisory_xact_lock(7237496);
    FOR r IN SELECT * FROM jsonb_to_recordset(p_rows)
             AS x (grant_id text, kind text, subject text, tag text, value text, count bigint, first timestamptz,
                   last timestamptz) LOOP
        IF r.count > 1000000000 THEN
            RAISE EXCEPTION 'a count of more than 1,000,000,000' USING ERRCODE = 'check_violation';
        END IF;
        v_subject := r.subject;
        v_tag := r.tag;
        v_value := r.value;
        v_known := EXISTS (SELECT FROM security_attempts AS s
                           WHERE (s.day, s.grant_id, s.kind, s.subject, s.tag, s.value)
                                 = (r.first::date, r.grant_id, r.kind, r.subject, r.tag, r.value));
        IF NOT v_known AND (SELECT count(*) >= 50 FROM security_attempts AS s
                            WHERE (s.day, s.grant_id, s.kind, s.subject) = (r.first::date, r.grant_id, r.kind, r.subject))
        THEN
            v_tag := '(others)';
            v_value := '(others)';
        END IF;
        IF NOT v_known AND (SELECT count(*) >= 2000 FROM security_attempts AS s
                            WHERE s.grant_id = r.grant_id AND s.day = r.first::date) THEN
            v_subject := '(others)';
            v_tag := '(others)';
            v_value := '(others)';
        END IF;
        INSERT INTO security_attempts AS s
        VALUES (r.first::date, r.grant_id, r.kind, v_subject, v_tag, v_value, r.count, r.first, r.last)
        ON CONFLICT (day, grant_id, kind, subject, tag, value) DO UPDATE
        SET count = s.count + excluded.count, first_seen = least(s.first_seen, excluded.first_seen),
            last_seen = greatest(s.last_seen, excluded.last_seen);
    END LOOP;
END
$$;

GRANT SELECT ON trips, trip_ends, security_attempts TO remit_authority, remit_reader;
GRANT INSERT ON trip_ends TO remit_authority;
GRANT SELECT (seq, id, grant_id, scope, subject, rule, measured, allowed, mode, tripped_at, until, tree_revision) ON trips
    TO remit_gateway;
GRANT SELECT (trip_id) ON trip_ends TO remit_gateway;
GRANT EXECUTE ON FUNCTION trip_breaker(timestamptz, jsonb), note_attempts(jsonb) TO remit_gateway;

RESET ROLE;
