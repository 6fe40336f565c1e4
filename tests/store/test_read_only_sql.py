"""`remit sql` asks one question as a reader; whatever is typed, nothing is written, locked, run or read elsewhere."""

from collections.abc import Iterator

import pytest

from remit.kernel.clock import SystemClock
from remit.store.read_only_sql import Found, Limits, StatementError, ask, readable_statement
from tests.leases.trial import Trial, grant, usd
from tests.store.database import fresh_database


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    made = Trial(fresh_database())
    root = made.write(grant("root", limits=(usd(100),)))
    hold = made.hold(root, 10)
    assert made.take(hold) == [True] and made.settle(hold.id, 7) == "settled"
    yield made
    made.close()


def asked(trial: Trial, text: str, limits: Limits = Limits()) -> Found:  # noqa: B008 - it is frozen
    return ask(trial.url, "finance", text, limits, SystemClock())


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


def test_the_role_holds_without_the_list(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were every function on the list, a question still could not write or read what is the owner's."""
    monkeypatch.setattr("remit.store.read_only_sql.readable_statement", lambda text: text)
    for text in (
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT * FROM remit.people_tokens",
        "SELECT lo_create(0)",
        "WITH x AS (DELETE FROM remit.entries RETURNING 1) SELECT * FROM x",
        "SELECT 1; DELETE FROM remit.entries",
        "SELECT set_config('transaction_read_only', 'off', true)",
    ):
        with pytest.raises(StatementError):
            asked(trial, text)


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
