"""`remit sql` asks one question as a reader; whatever is typed, nothing is written, locked, run or read elsewhere."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg.conninfo import make_conninfo

from remit.kernel.clock import SystemClock
from remit.settings import SettingsError
from remit.store.connect import Reader
from remit.store.embedded import reader_login
from remit.store.read_only_sql import Found, Limits, StatementError, ask, readable_statement
from tests.leases.trial import Trial, grant, usd
from tests.store.database import fresh_database


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    made = Trial(fresh_database())
    root = made.write(grant("root", limits=(usd(100),)))
    hold = made.hold(root, 10)
    assert made.take(hold) == [True] and made.settle(hold.id, 7) == "settled"
    assert reader_login(made.url, "finance") == make_conninfo(made.url, user="remit_sql_finance")
    yield made
    made.close()


def asked(trial: Trial, text: str, limits: Limits = Limits()) -> Found:  # noqa: B008 - it is frozen
    return ask(make_conninfo(trial.url, user="remit_sql_finance"), "finance", text, limits, SystemClock())


@pytest.mark.parametrize(
    "text",
    [
        "SELECT grant_path, sum(amount_nanousd) AS amount FROM charges GROUP BY 1 ORDER BY 2 DESC",
        "select c.grant_path, sum(c.amount_nanousd) from chargeback.charges c group by 1;",
        "WITH x (a, b) AS (SELECT grant_path, amount_nanousd FROM charges) SELECT a, max(b) FILTER (WHERE b > 0) FROM x GROUP BY a;;",
        "SELECT v.a, 7::numeric(10, 2) FROM (VALUES ('root', 1)) AS v (a, n) -- pg_sleep(1); a comment",
        "SELECT 'root', 7 /* ; pg_sleep(1) /* nested */ */",
        "TABLE charges",
        "SELECT $$; pg_sleep(1)$$, E'it\\'s; pg_sleep(1)', '%s', \"grant_path\" FROM charges",
        "SELECT extract(month FROM day), rank() OVER (PARTITION BY day ORDER BY amount_nanousd) FROM charges",
        "SELECT (c).day, (c).tags, c.grant_path, s.total FROM charges AS c, (SELECT 1 AS total) AS s",
        'SELECT c.*, (c.day).date, "c"."grant_path", c . /* its */ day FROM charges AS c',
        "SELECT 'root' AS \"größe\", 'größe' -- größe",
        "SELECT 'root'\r\n\t",
        "SELECT CAST(amount_nanousd AS numeric(20, 9)), day IN ('2026-01-01') FROM charges WHERE EXISTS (SELECT 1)",
    ],
)
def test_questions_are_answered(trial: Trial, text: str) -> None:
    """Groups, windows, casts, texts and comments are as everywhere."""
    assert len(asked(trial, text).rows) == 1


HOSTILE = [
    "DELETE FROM remit.entries",
    "UPDATE grants SET owner = 'me'",
    "SELECT 1; DELETE FROM remit.entries",
    "SELECT 1) ; DELETE FROM remit.entries; --",
    "WITH x AS (DELETE FROM remit.entries RETURNING *) SELECT * FROM x",
    "SELECT * INTO x FROM grants",
    "SELECT * FROM grants FOR UPDATE",
    "TABLE remit.entries",
    "SELECT * FROM remit.people_tokens",
    "SELECT * FROM pg_authid",
    "SELECT set_config('role', 'postgres', true)",
    "SELECT set_config ('role', 'postgres', true), query_to_xml('select * from remit.people_tokens', true, true, '')",
    "SELECT pg_catalog.set_config('role', 'postgres', true)",
    "SELECT set_config/**/('role', 'postgres', true)",
    "SELECT \"set_config\"('role', 'postgres', true)",
    "SELECT U&\"set\\005fconfig\"('role', 'postgres', true)",
    "SELECT remit.take_holds(1, now(), '[]')",
    "SELECT remit.count(1)",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT * FROM pg_ls_dir('/')",
    "SELECT pg_advisory_lock(7237494)",
    "SELECT pg_sleep(1000)",
    "SELECT lo_import('/etc/passwd')",
    "SELECT dblink('a', 'b')",
    "SELECT 1 FROM ROWS FROM (pg_ls_dir('/'))",
    "SELECT nextval('remit.entries_seq_seq')",
    "SELECT repeat('x', 1000000000)",
    "COPY grants TO PROGRAM 'id'",
    "SET ROLE postgres",
    "RESET ROLE",
    "DO $$ BEGIN NULL; END $$",
    "EXPLAIN ANALYZE SELECT 1",
    "CALL x()",
    "LISTEN remit_tree",
    "NOTIFY remit_tree",
    "BEGIN",
    "ROLLBACK",
    "COMMIT",
    "SELECT 'it does not end",
    "SELECT /* it does not end",
    "SELECT $a$ it does not end $$",
    "SELECT $1",
    "",
    ";",
    "-- nothing",
    "SELECT 1" + " " * 20_001,
    "SELECT 1 \0",
    "SELECT '\0'",
    "SELECT '\udcff'",
    # Other ways to call, write or lock.
    "SELECT 7 OPERATOR(pg_catalog.+) 1",
    "SELECT * FROM grants FOR SHARE",
    "SELECT xmlparse(document '<a/>')",
    "SELECT * FROM xmltable('/a' PASSING '<a/>' COLUMNS b text)",
    "SELECT * FROM grants TABLESAMPLE system(1)",
    "SELECT * FROM LATERAL pg_sleep(7)",
    "WITH pg_sleep(a) AS (SELECT 1) SELECT pg_sleep(7)",
    "WITH x AS (INSERT INTO grants DEFAULT VALUES RETURNING *) SELECT * FROM x",
    "WITH x AS (MERGE INTO grants USING months ON true WHEN MATCHED THEN DELETE RETURNING 1) SELECT * FROM x",
    "DECLARE x CURSOR FOR SELECT 1",
    "FETCH 1 FROM question",
    "PREPARE x AS SELECT 1",
    "EXECUTE x",
    "TRUNCATE remit.entries",
    "LOCK TABLE chargeback.grants",
    "SET SESSION AUTHORIZATION postgres",
    "CREATE TEMP TABLE x AS SELECT 1",
    "SELECT * FROM pg_shadow",
    "SELECT * FROM pg_stat_statements",
    "SELECT * FROM pg_hba_file_rules",
    "SELECT * FROM pg_largeobject",
    "SELECT * FROM pg_statistic",
    "SELECT * FROM pg_file_settings",
    "SELECT * FROM chargeback.audit",
    "SELECT * FROM remit.charged_days",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_question_is_refused(trial: Trial, text: str) -> None:
    """One line says why, and nothing has happened."""
    before = trial.one("SELECT (count(*), sum(amount_nanousd))::text FROM entries")
    with pytest.raises(StatementError) as refused:
        asked(trial, text)
    assert "\n" not in str(refused.value) and str(refused.value)
    assert trial.one("SELECT (count(*), sum(amount_nanousd))::text FROM entries") == before
    assert trial.one("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()") == 0


# A name behind a dot is called where it is no column.
BEHIND_A_DOT = [
    "SELECT ('role'::text).current_setting",
    "SELECT (k).pg_advisory_lock FROM (VALUES (7237494::bigint)) AS v(k)",
    "SELECT (k).pg_sleep FROM (VALUES (7::float8)) AS v(k)",
    "SELECT (k) . /* a */ -- b\n PG_SLEEP FROM (VALUES (7::float8)) AS v(k)",
    'SELECT (k)."pg_sleep" FROM (VALUES (7::float8)) AS v(k)',
    "SELECT k.pg_sleep FROM generate_series(1, 2) AS k",
    "SELECT k.pg_advisory_lock FROM unnest('{7237494}'::bigint[]) AS k",
    "SELECT (ARRAY[7237494::bigint])[1].pg_advisory_lock",
    "SELECT (k[1]).pg_advisory_lock FROM (VALUES ('{7237494}'::bigint[])) AS v(k)",
    "SELECT (q).ts_stat FROM (VALUES ($$SELECT set_config('role', 'none', false)::tsvector$$)) AS v(q)",
    "SELECT (q).pg_read_file FROM (VALUES ('/etc/passwd'::text)) AS v(q)",
    "SELECT (q).pg_ls_dir FROM (VALUES ('/'::text)) AS v(q)",
    "SELECT (q).lo_import FROM (VALUES ('/etc/passwd'::text)) AS v(q)",
    "SELECT (q).pg_terminate_backend FROM (VALUES (1)) AS v(q)",
    "SELECT count(*) FROM charges AS c ORDER BY c.row_to_json.pg_sleep",
]


@pytest.mark.parametrize("text", BEHIND_A_DOT)
def test_no_function_is_called_by_a_dot(trial: Trial, text: str) -> None:
    """However it is written, also of a row, an element or a whole table; what is no function may stand there."""
    with pytest.raises(StatementError, match="behind a dot"):
        asked(trial, text)


# What PostgreSQL reads as a statement must be neither text nor blank here.
HIDDEN = [
    "SELECT 1 -- \r, pg_sleep(7)",
    "SELECT E'a'\n'\\'' || (pg_sleep(7))::text -- '",
    "SELECT 1 AS \u00a0$$, pg_sleep(7) AS \u00a0$$",
    "SELECT 1 AS \u0663$$, pg_sleep(7) AS \u0663$$",
    "SELECT $\u20ac$ ' $\u20ac$, pg_sleep(7) -- '",
    "SELECT $a\u20ac$ ' $a\u20ac$, pg_sleep(7) -- '",
    "SELECT 1 AS a$$, pg_sleep(7) AS a$$",
    "SELECT 1 AS a\u00a0E, 'a\\', pg_sleep(7), ' -- \\'",
    "SELECT 1\v, 2",
    "SELECT 1\u2028",
    "SELECT /* /* */ pg_sleep(7) */ pg_sleep(7)",
    "SELECT $a$ $b$ $a$, pg_sleep(7), $b$ $b$",
    "SELECT U&'\\0061', pg_sleep(7)",
    'SELECT U&"\\0070g_sleep"(7)',
    'SELECT "pg""_sleep"(7)',
]


@pytest.mark.parametrize("text", HIDDEN)
def test_nothing_hides_from_the_list(text: str) -> None:
    """Where the two could read a statement differently, it is refused before anybody asks it."""
    with pytest.raises(StatementError, match="cannot"):
        readable_statement(text)


# Were the list read around altogether.
PAST_THE_LIST = [
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT pg_stat_file('/etc/passwd')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT * FROM remit.people_tokens",
    "SELECT * FROM pg_authid",
    "SELECT lo_create(0)",
    "WITH x AS (DELETE FROM remit.entries RETURNING 1) SELECT * FROM x",
    "SELECT 1; DELETE FROM remit.entries",
    "SELECT set_config('transaction_read_only', 'off', true)",
    "SELECT set_config('role', 'postgres', false)",
    "SELECT set_config('role', 'remit_owner', false)",
    "SELECT set_config('role', 'remit_reader', false)",
    "SELECT set_config('session_authorization', 'postgres', false)",
    "SELECT (k).pg_advisory_lock FROM (VALUES (7237494::bigint)) AS v(k)",
    "SELECT pg_try_advisory_xact_lock_shared(7237494)",
    "SELECT pg_sleep(7)",
    "SELECT pg_notify('remit_tree', '1')",
    "SELECT pg_logical_emit_message(false, 'a', 'b')",
    "SELECT (q).ts_stat FROM (VALUES ($$SELECT set_config('role', 'none', false)::tsvector$$)) AS v(q)",
    "SELECT ts_rewrite('a'::tsquery, 'SELECT 1')",
    "SELECT query_to_xml('SELECT * FROM charges', true, true, '')",
    "SELECT table_to_xml('chargeback.charges', true, true, '')",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
    "SELECT pg_reload_conf()",
    "SELECT pg_create_logical_replication_slot('a', 'pgoutput')",
    "SELECT remit.lock_tree(true)",
    "SELECT remit.is_charged('usage', NULL)",
    "SELECT nextval('remit.entries_seq_seq')",
    "SELECT dblink('a', 'b')",
]


@pytest.mark.parametrize("text", PAST_THE_LIST)
def test_rights_hold_without_the_list(trial: Trial, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Were every function called that there is, the login has no right to what it would take."""
    monkeypatch.setattr("remit.store.read_only_sql.readable_statement", lambda given: given)
    monkeypatch.setattr("remit.store.read_only_sql._require_no_calls", lambda *_: None)
    with pytest.raises(StatementError, match=r"denied|cannot|must be|does not exist|multiple commands"):
        asked(trial, text)


def test_there_is_nothing_to_go_back_to(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sets the role back, also by a text that is run as a statement, is the same login with the same rights."""
    monkeypatch.setattr("remit.store.read_only_sql.readable_statement", lambda given: given)
    found = asked(
        trial,
        "SELECT set_config('role', 'none', false), session_user::text, current_user::text, current_setting('is_superuser'),"
        " has_table_privilege('pg_authid', 'SELECT'), pg_has_role('remit_reader', 'MEMBER')",
    )
    assert found.rows == [("none", "remit_sql_finance", "remit_sql_finance", "off", False, False)]


def test_what_others_do_is_not_shown(trial: Trial) -> None:
    """Of others' sessions a question finds no statement, and no setting that is for superusers."""
    trial.looking.execute("SELECT 'a secret of somebody'")
    found = asked(trial, "SELECT query FROM pg_stat_activity WHERE query LIKE '%secret of some%' AND pid <> 0")
    assert not [row for row in found.rows if "pid <> 0" not in row[0]]
    assert not asked(trial, "SELECT name FROM pg_settings WHERE name IN ('hba_file', 'data_directory')").rows


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ("CREATE ROLE asker LOGIN SUPERUSER", "is a superuser"),
        ("CREATE ROLE asker LOGIN CREATEROLE IN ROLE remit_finance", "may make roles"),
        ("CREATE ROLE asker LOGIN IN ROLE remit_finance, remit_owner", "is a member of `remit_owner`"),
        ("CREATE ROLE asker LOGIN IN ROLE remit_finance, pg_read_server_files", "is a member of `pg_read_server_files`"),
        ("CREATE ROLE asker LOGIN; GRANT remit_finance TO asker WITH ADMIN OPTION", "may make others members"),
        ("CREATE ROLE asker LOGIN IN ROLE remit_finance; GRANT SELECT ON remit.entries TO asker", "has rights of its own"),
        ("CREATE ROLE asker LOGIN IN ROLE remit_finance; CREATE TABLE public.askers (); ALTER TABLE public.askers OWNER TO asker",
         "owns something"),
        ("CREATE ROLE asker LOGIN", "is none of the readers"),
        ("CREATE ROLE asker LOGIN NOINHERIT IN ROLE remit_finance", "is none of the readers"),
        ("CREATE ROLE asker LOGIN IN ROLE remit_finance; GRANT INSERT ON chargeback.grants TO asker", "has rights of its own"),
        ("CREATE ROLE asker LOGIN IN ROLE remit_finance; GRANT SELECT (actor) ON chargeback.audit TO asker",
         "has rights of its own"),
        ("CREATE ROLE asker LOGIN IN ROLE remit_finance, remit_security", "is finance and security"),
        ("CREATE ROLE asker LOGIN IN ROLE remit_security", "reads as security and not as finance"),
    ],
)  # fmt: skip
def test_a_login_that_may_do_more_is_not_asked_with(trial: Trial, made: str, why: str) -> None:
    """Whatever it has besides the rights of one reader is named, and nothing is asked."""
    trial.looking.execute(made.encode())
    try:
        with pytest.raises(SettingsError, match=why):
            ask(make_conninfo(trial.url, user="asker"), "finance", "SELECT 1", Limits(), SystemClock())
    finally:
        trial.looking.execute("DROP OWNED BY asker; DROP ROLE asker")


def test_a_right_to_connect_is_none_beyond(trial: Trial) -> None:
    """Where not everybody may connect, a login is given that right itself, and is asked with."""
    ((database,),) = trial.looking.execute("SELECT current_database()").fetchall()
    trial.looking.execute(
        f"CREATE ROLE asker LOGIN IN ROLE remit_finance; GRANT CONNECT ON DATABASE {database} TO asker".encode()
    )
    try:
        url = make_conninfo(trial.url, user="asker")
        assert ask(url, None, "SELECT grant_path FROM charges", Limits(), SystemClock()).rows == [("root",)]
    finally:
        trial.looking.execute("DROP OWNED BY asker; DROP ROLE asker")


@pytest.mark.parametrize("reader", ["engineering", "finance", "security"])
def test_every_reader_can_be_asked_as(trial: Trial, reader: Reader) -> None:
    """The embedded server has a login for each, which two questions at once can make."""
    with ThreadPoolExecutor(2) as pool:
        urls = set(pool.map(lambda _: reader_login(trial.url, reader), range(2)))
    for url in urls:
        assert ask(url, None, "SELECT session_user::text", Limits(), SystemClock()).rows == [(f"remit_sql_{reader}",)]
        assert ask(url, reader, "SELECT grant_path FROM grants", Limits(), SystemClock()).rows == [("root",)]


def test_a_question_has_limits(trial: Trial) -> None:
    """Of rows, with word of it; of bytes and of time, with an error."""
    found = asked(trial, "SELECT generate_series(1, 1000000000)", Limits(rows=350))
    assert len(found.rows) == 350 and found.is_cut
    assert not asked(trial, "SELECT * FROM generate_series(1, 350) AS n", Limits(rows=350)).is_cut
    with pytest.raises(StatementError, match="MiB"):
        asked(trial, "SELECT string_agg(n::text, ',') FROM generate_series(1, 300000) AS n", Limits(bytes=2**20))
    with pytest.raises(StatementError, match="longer than 1 seconds"):
        asked(trial, "SELECT n FROM (SELECT generate_series(1, 100000000000) AS n) AS s WHERE n < 0", Limits(seconds=1))
    with pytest.raises(StatementError, match="temp_file_limit"):
        asked(trial, "SELECT count(*) FROM generate_series(1, 100000000000) AS n")


def test_what_ends_a_statement_is_no_part_of_it() -> None:
    """What follows the last token is left out, so that nothing can hide there."""
    assert readable_statement("SELECT 1 ; -- x") == "SELECT 1"
