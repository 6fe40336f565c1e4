"""Engineering, finance and security read the ledger in SQL: each its views, over logins of their own, and nothing else."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from remit.cli.ledger_dictionary import page
from remit.ledger.accounting import Adjustment, Bearer, Part, Transfer
from remit.ledger.service import spend_report
from remit.store.postgres_accounting import PostgresAccounting
from remit.store.postgres_readers import (
    NewLogin,
    PostgresReaders,
    Reader,
    ReaderError,
    dictionary,
    login_script,
)
from remit.store.postgres_rollups import PostgresRollups
from remit.store.postgres_tree import PostgresTree
from tests.leases.trial import Trial, grant, usd
from tests.store.database import fresh_database

RECORDED = Path(__file__).with_name("chargeback_columns.txt")
DICTIONARY = Path(__file__).parents[2] / "docs" / "reference" / "data-dictionary.md"
VIEWS: dict[Reader, set[str]] = {
    "engineering": {"grants", "usage_days", "usage_hours", "calls", "limits"},
    "finance": {"grants", "limits", "charges", "months", "vendor_months", "bills", "adjustments", "transfers", "debts",
                "coverage"},
    "security": {"grants", "holders", "decisions", "refusals", "revocations", "trips", "audit", "roles", "tickets"},
}  # fmt: skip
READERS: tuple[Reader, ...] = ("engineering", "finance", "security")


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    """Books in which two calls were folded into the sums and what came later was not."""
    made = Trial(fresh_database())
    root = made.write(grant("root", limits=(usd(10**6),)))
    leaf = made.write(grant("leaf", root, limits=(usd(10**5),)))
    first, second, third = (made.hold(leaf, 100, 10) for _ in range(3))
    assert made.take(first, second, third) == [True, True, True]
    assert made.settle(first.id, 70) == "settled"
    made.finish((second.id, "suspense", 0, 0))
    PostgresRollups(made.care._connect).fold()
    assert made.settle(third.id, 30) == "settled"
    books = PostgresAccounting(made.care._connect, made.clock)
    bill = Adjustment(grant_id=leaf.id, vendor="openai", amount_nanousd=-5, held_at=made.clock.now(), cause="credit")
    move = Transfer(
        id="t1", held_at=made.clock.now(), sources=[(Bearer(grant_id=leaf.id), 7)],
        parts=[Part(bearer=Bearer(grant_id=root.id, tags={"team": "x"}), amount_nanousd=7)], rule="r", method="m",
    )  # fmt: skip
    books.post([bill, move], by="fin@acme.example", reason="r", key="k", source="command")
    yield made
    made.close()


@pytest.fixture(scope="module")
def logins(trial: Trial) -> dict[Reader, NewLogin]:
    """A login for each, made as an administrator makes it."""
    readers = PostgresReaders(trial.url, trial.clock)
    return {one: readers.make(one, "kim", actor="ada@acme.example", reason="quarter's end") for one in READERS}


def as_reader(login: NewLogin) -> psycopg.Connection:
    """A client that knows what the person was told."""
    return psycopg.connect(login.url, password=login.password, autocommit=True)


def asked(login: NewLogin, statement: str) -> list[tuple[Any, ...]]:
    with as_reader(login) as connection:
        return connection.execute(statement.encode()).fetchall()


@pytest.mark.parametrize("reader", READERS)
def test_each_reads_their_views_and_no_others(trial: Trial, logins: dict[Reader, NewLogin], reader: Reader) -> None:
    """Every view of theirs answers, every other one and every table is refused."""
    everything = set().union(*VIEWS.values())
    with as_reader(logins[reader]) as connection:
        for view in sorted(everything):
            if view in VIEWS[reader]:
                connection.execute(f"SELECT * FROM {view}".encode())
                continue
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT * FROM {view}".encode())
        for table in ("remit.entries", "remit.access_keys", "remit.people_tokens", "remit.charged_days", "remit.grants",
                      "public.remit_migrations", "remit_jobs.procrastinate_jobs", "pg_authid"):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT * FROM {table}".encode())
    ((found,),) = trial.looking.execute(
        "SELECT array_agg(relname::text) FROM pg_class WHERE relnamespace = 'chargeback'::regnamespace"
    ).fetchall()
    assert set(found) == everything


HOSTILE = (
    "SET ROLE remit_owner",
    "SET ROLE remit_reader",
    "SELECT remit.is_charged('usage', NULL)",
    "SELECT pg_advisory_lock(7237494)",
    "SELECT pg_try_advisory_xact_lock_shared(7237494)",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_sleep(9)",
    "SELECT lo_create(0)",
    "SELECT pg_notify('remit_tree', 'x')",
    "COPY grants TO '/tmp/x'",
    "COPY grants TO PROGRAM 'true'",
    "CREATE TEMP TABLE x (a int)",
    "CREATE TABLE public.x (a int)",
    "CREATE VIEW chargeback.x AS SELECT 1",
    "UPDATE chargeback.grants SET owner = 'me'",
    "DELETE FROM chargeback.grants",
    "INSERT INTO chargeback.grants DEFAULT VALUES",
    "COMMENT ON VIEW chargeback.grants IS 'mine'",
    "SELECT query_to_xml('select 1', true, true, '')",
)


@pytest.mark.parametrize("statement", HOSTILE)
def test_a_login_that_lets_itself_write_can_write_nothing(logins: dict[Reader, NewLogin], statement: str) -> None:
    """Read-only is the default; who switches it off still has no right to anything."""
    with as_reader(logins["finance"]) as connection:
        connection.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())


def test_a_login_begins_read_only_and_short_of_time(logins: dict[Reader, NewLogin]) -> None:
    """A client that sets nothing gets a read-only session, a limit of time, and the views by their names."""
    names = ("default_transaction_read_only", "statement_timeout", "search_path", "TimeZone")
    with as_reader(logins["security"]) as connection:
        settings = [connection.execute(f"SHOW {name}".encode()).fetchone() for name in names]
        assert settings == [("on",), ("1min",), ("chargeback",), ("UTC",)]
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("CREATE TABLE x (a int)")


def test_only_the_password_lets_in(logins: dict[Reader, NewLogin]) -> None:
    """Over the socket too, and also for the user who runs the server."""
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(logins["finance"].url, password="guess")
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(logins["finance"].url, passfile="/nonexistent")


def test_a_login_is_renewed_and_ended(trial: Trial) -> None:
    """A new password replaces the old one, an ended login is refused at once, and the audit has all of it."""
    readers = PostgresReaders(trial.url, trial.clock)
    first = readers.make("finance", "lou", actor="ada@acme.example", reason="")
    second = readers.make("finance", "lou", actor="ada@acme.example", reason="lost")
    with pytest.raises(psycopg.OperationalError):
        as_reader(first)
    with as_reader(second) as connection:
        readers.end("finance_lou", actor="ada@acme.example", reason="left")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        as_reader(second)
    assert {one["login"]: one["is_active"] for one in readers.every()}["finance_lou"] is False
    kept = trial.looking.execute(
        "SELECT operation, reason, after ->> 'can_login' FROM audit WHERE subject_id = 'finance_lou' ORDER BY seq"
    ).fetchall()
    assert kept == [
        ("db reader make", "", "true"),
        ("db reader make", "lost", "true"),
        ("db reader end", "left", "false"),
    ]
    assert second.password not in repr(second) and second.password not in second.url
    for name in ("Kim", "kim; DROP ROLE x", "", "k" * 41, "1kim", 'kim"'):
        with pytest.raises(ReaderError):
            readers.make("finance", name, actor="ada@acme.example", reason="")
    trial.looking.execute("CREATE ROLE finance_taken")
    with pytest.raises(ReaderError, match="already"):
        readers.make("finance", "taken", actor="ada@acme.example", reason="")
    with pytest.raises(ReaderError, match="no login"):
        readers.end("remit_owner", actor="ada@acme.example", reason="")


def test_a_printed_script_makes_the_same_login(trial: Trial) -> None:
    """Who administers a database runs what was printed, and the password lets the person in."""
    script, password = login_script("engineering", "ola")
    assert password not in script
    trial.looking.execute(script.encode())
    url = make_conninfo(trial.url, user="engineering_ola", password=password)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM chargeback.calls").fetchone() == (3,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT pg_advisory_lock(1)")


def test_remit_works_after_it_was_closed(trial: Trial, logins: dict[Reader, NewLogin]) -> None:
    """What was taken from everybody is still there for those who take holds, write the tree and fold sums."""
    hold = trial.hold(trial.grants["grant_leaf"], 10)
    assert trial.take(hold) == [True] and trial.settle(hold.id, 0) == "settled"
    trial.write(grant("other", limits=(usd(5),)))
    PostgresRollups(trial.care._connect).fold()


def test_a_notice_of_anybody_ends_no_gateways_watch(trial: Trial) -> None:
    """A login may send notices; one that is no revision is passed over, and the next one is heard."""

    async def watch() -> list[int | None]:
        heard: asyncio.Queue[int | None] = asyncio.Queue()
        task = asyncio.create_task(PostgresTree(trial.url).follow(heard.put))
        found = [await heard.get()]
        for payload in ("x", "", "-1", "9" * 30, "7"):
            trial.looking.execute("SELECT pg_notify('remit_tree', %s)", (payload,))
        found.append(await heard.get())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return found

    assert asyncio.run(watch()) == [None, 7]


def test_the_views_sum_to_the_ledger(trial: Trial, logins: dict[Reader, NewLogin]) -> None:
    """By days and hours, with what is not in the sums yet, adjustments, transfers and suspense."""
    total = spend_report(trial.ledger, ("team",)).total
    sums = "coalesce(sum(amount_nanousd), 0), sum(suspense_nanousd), sum(requests)"
    expected = (total.amount_nanousd, total.suspense_nanousd, total.requests)
    for reader, view in (("finance", "charges"), ("engineering", "usage_days"), ("engineering", "usage_hours")):
        assert asked(logins[reader], f"SELECT {sums} FROM {view}") == [expected]  # type: ignore[index]
    assert asked(logins["finance"], "SELECT charged_nanousd, status, signed_off_nanousd FROM months") == [
        (total.amount_nanousd, "open", None)
    ]
    assert asked(logins["finance"], "SELECT owed_nanousd, suspense_nanousd, billed_nanousd FROM vendor_months") == [
        (total.amount_nanousd, total.suspense_nanousd, None)
    ]
    assert asked(logins["finance"], "SELECT cause, amount_nanousd, amount_usd::text, booked_by FROM adjustments") == [
        ("credit", -5, "-0.000000005", "fin@acme.example")
    ]
    moved = asked(logins["finance"], "SELECT transfer_id, sum(amount_nanousd), count(*) FROM transfers GROUP BY 1")
    assert moved == [("t1", 0, 2)]
    coverage = dict(asked(logins["finance"], "SELECT tag, charged_with_nanousd FROM coverage"))
    by_team = {row.group[0]: row.amount_nanousd for row in spend_report(trial.ledger, ("team",)).rows}
    assert coverage["team"] == sum(amount for team, amount in by_team.items() if team) and coverage["feature"] == 0


def test_security_sees_no_amount(trial: Trial) -> None:
    """What security reads holds neither money nor tokens, and no view holds a hash, a secret or a body."""
    for view in dictionary(trial.url):
        names = {name for name, _, _ in view.columns}
        if view.readers == ("security",):
            assert not [name for name in names if "usd" in name or "tokens" in name or "amount" in name]
        assert not [name for name in names if "hash" in name or "secret" in name or name in ("payload", "body")]


def test_the_dictionary_is_what_the_database_says(trial: Trial) -> None:
    """Every view and column is explained, and the committed page is the printed one."""
    views = dictionary(trial.url)
    assert {view.name: set(view.readers) for view in views} == {
        name: {reader for reader in READERS if name in VIEWS[reader]} for name in set().union(*VIEWS.values())
    }
    assert all(view.about and all(meaning for _, _, meaning in view.columns) for view in views)
    assert DICTIONARY.read_text(encoding="utf-8") == page(views), (
        "renew it with: remit ledger dictionary > docs/reference/data-dictionary.md"
    )


def test_columns_only_come(trial: Trial) -> None:
    """Every recorded column is there with its type and in its place, and every column is recorded."""
    recorded = [line for line in RECORDED.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    found = [f"{view.name}.{name} {type_}" for view in dictionary(trial.url) for name, type_, _ in view.columns]
    assert found == recorded, (
        f"add what is new at the end of its view in {RECORDED.name}; nothing else may change there"
    )


def test_views_keep_what_they_filter_from_functions_of_others(trial: Trial) -> None:
    """Each is a security barrier: no condition of a reader sees rows that a view leaves out."""
    rows = trial.looking.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'chargeback'::regnamespace"
        " AND NOT coalesce('security_barrier=true' = ANY (reloptions), false)"
    ).fetchall()
    assert rows == []
