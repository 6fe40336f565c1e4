"""Totals, forecasts, unit costs, coverage, budgets, pages, workbooks, questions in SQL and logins, from the command line."""

import csv
import io
import json
import select
import socket
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.cli.conftest import Cli
from tests.system.harness import System


def test_a_total_adds_up(cli: Cli, spent: str) -> None:
    """By class and by vendor it is the same as in all, and as a report says; a span is compared with the one before."""
    for option in ("--month", "--quarter", "--year"):
        found = cli.ok("ledger", "total", option, "--json").json()
        total = found["sums"]["amount_nanousd"]
        assert total >= 400_000_000
        assert sum(row["amount_nanousd"] for row in found["by_class"]) == total
        assert sum(row["amount_nanousd"] for row in found["by_vendor"]) == total
    past = cli.ok("ledger", "total", "--since", "2020-01-01", "--until", "2020-02-01", "--json").json()
    assert (past["sums"]["amount_nanousd"], past["previous_to_date"]) == (0, None)
    text = cli.ok("ledger", "total").out
    assert text.splitlines()[1].startswith("total") and "of it until" in text
    for wrong in (["--month", "--year"], ["--until", "2026-01-01"], ["--since", "2026-02-01", "--until", "2026-01-01"]):
        assert cli("ledger", "total", *wrong).code == 2
    odd = cli("ledger", "total", "--month", "2026-11")
    assert (odd.code, odd.err) == (2, "remit: nothing here takes `2026-11`; see `remit ledger total --help`\n")


def test_no_forecast_without_two_weeks(cli: Cli, spent: str) -> None:
    """What is charged so far is shown, nothing is made up, and a line says why."""
    found = cli.ok("ledger", "forecast", "--by", "grant", "--json").json()
    assert found["total"]["expected_nanousd"] is None and found["total"]["days"] == 0
    assert {row["group"]["grant"]: row["to_date_nanousd"] for row in found["rows"]}[f"{spent}/search"] == 300_000_000
    ran = cli.ok("ledger", "forecast")
    assert "a forecast takes 14" in ran.err and ran.out.count("\n") == 2
    assert cli("ledger", "forecast", "--by", "day").code == 2


def test_units_and_coverage(cli: Cli, spent: str) -> None:
    """A call costs what calls cost over their number; what carries a tag and what does not is all there is."""
    by = ("ledger", "units", "--by", "grant", "--only", f"grant={spent}/search")
    (row,) = cli.ok(*by, "--json").json()["rows"]
    assert (row["per_request_nanousd"], row["cache_hit_ppm"], row["retry_ppm"]) == (150_000_000, 0, 0)
    assert "$0.15" in cli.ok(*by).out
    found = cli.ok("ledger", "coverage", "--tags", "team,nonsense", "--json").json()
    assert found["unattributed_nanousd"] == found["charged_nanousd"] and found["unattributed_ppm"] == 1_000_000
    assert "unattributed" in cli.ok("ledger", "coverage").err
    assert cli("ledger", "coverage", "--tags", "Team!").code == 2


def test_a_budget_of_a_subtree(cli: Cli, spent: str) -> None:
    """A line for each limit in money from a grant on down, with what was spent of it."""
    lines = {one["path"]: one for one in cli.ok("ledger", "budget", spent, "--json").json()["lines"]}
    assert set(lines) == {spent, f"{spent}/search", f"{spent}/lab"}
    assert lines[spent]["posted_nanousd"] == 400_000_000 and lines[spent]["verdict"] == "unknown"
    assert "no forecast" in cli.ok("ledger", "budget", f"{spent}/lab").out
    assert cli("ledger", "budget", "nothing").code == 2


def test_a_page_and_a_workbook(cli: Cli, spent: str, system: System, tmp_path: Path) -> None:
    """Each is a file that is there whole; an owner or a month that cannot be is said so, and leaves what was there."""
    ((month,),) = system.sql("SELECT to_char(max(billing_month), 'YYYY-MM') FROM entries")
    page, book, plain = tmp_path / "bob.html", tmp_path / "book.xlsx", tmp_path / "book.csv"
    owner = ("ledger", "statement", "--owner", "bob@acme.example", "--month", month)
    cli.ok(*owner, "--out", str(page))
    assert f"{spent}/search" in page.read_text() and "<script" not in page.read_text()
    cli.ok("ledger", "sheet", "--month", month, "--out", str(book))
    cli.ok("ledger", "sheet", "--month", month, "--out", str(plain))
    assert book.read_bytes().startswith(b"PK") and f"{spent}/search" in plain.read_text()
    before = page.read_text()
    for wrong in (
        ["statement", "--owner", "nobody@acme.example", "--month", month, "--out", str(page)],
        ["statement", "--owner", "bob@acme.example", "--month", "2026-13", "--out", str(page)],
        ["statement", "--owner", "bob@acme.example", "--month", month, "--out", str(tmp_path / "no" / "x.html")],
        ["statement", "--owner", "bob@acme.example", "--month", month, "--out", str(tmp_path / "bob.pdf")],
        ["sheet", "--month", month, "--out", str(tmp_path / "book.ods")],
    ):
        assert cli("ledger", *wrong).code == 2
    assert page.read_text() == before and sorted(one.name for one in tmp_path.iterdir()) == sorted(
        one.name for one in (page, book, plain)
    )


def test_a_question_in_every_format(cli: Cli, spent: str) -> None:
    """Table, CSV and JSON have the same answer; amounts are exact; what is no question is one line and code 2."""
    ask = (
        "sql",
        f"SELECT grant_path, sum(amount_usd) AS usd FROM charges WHERE grant_path LIKE '{spent}/%' GROUP BY 1 ORDER BY 1",
    )
    assert cli.ok(*ask, "--format", "json").json() == [
        {"grant_path": f"{spent}/lab", "usd": "0.100000000"},
        {"grant_path": f"{spent}/search", "usd": "0.300000000"},
    ]
    rows = list(csv.DictReader(io.StringIO(cli.ok(*ask, "--format", "csv").out)))
    assert [row["usd"] for row in rows] == ["0.100000000", "0.300000000"]
    assert "0.300000000" in cli.ok(*ask).out
    assert "more rows" in cli.ok(*ask, "--rows", "1").err
    assert cli.ok("sql", "SELECT '=1+1' AS x, NULL AS y", "--format", "csv").out == "x,y\n'=1+1,\n"
    assert "actor" in cli.ok("sql", "SELECT actor FROM audit", "--as", "security").out
    for wrong in (
        "DELETE FROM charges",
        "SELECT * FROM audit",
        "SELECT pg_sleep(9)",
        "SELECT ('role'::text).current_setting",
    ):
        ran = cli("sql", wrong)
        assert ran.code == 2 and ran.err.count("\n") == 1 and ran.out == ""


def test_values_with_parts_are_json(cli: Cli, spent: str) -> None:
    """Tags, lists and truth are in a cell of CSV or of a table what they are in JSON; nothing is written as one language has it."""
    ask = (
        "sql",
        'SELECT \'{"team": "rés", "n": null}\'::jsonb AS t, ARRAY[\'a\', NULL] AS l, 1 = 1 AS b, ARRAY[1.50] AS d',
    )
    (row,) = csv.DictReader(io.StringIO(cli.ok(*ask, "--format", "csv").out))
    assert row == {"t": '{"n":null,"team":"rés"}', "l": '["a",null]', "b": "true", "d": '["1.50"]'}
    (told,) = cli.ok(*ask, "--format", "json").json()
    assert {name: json.loads(text) for name, text in row.items()} == told
    assert cli.ok(*ask).out.splitlines()[1].split() == list(row.values())


def test_a_question_to_ones_own_database(cli: Cli, system: System, spent: str) -> None:
    """It is asked with a login that can only read, and with no other; without one the command says how to make it."""
    ask = ("sql", f"SELECT session_user::text AS me FROM grants WHERE grant_path = '{spent}'", "--format", "csv")
    assert cli.ok(*ask).out == "me\nremit_sql_finance\n"
    refused = cli(*ask, REMIT_DATABASE_URL=system.url)
    assert refused.code == 2 and "remit db reader" in refused.err and "REMIT_SQL_DATABASE_URL" in refused.err
    refused = cli(*ask, REMIT_SQL_DATABASE_URL=system.url)
    assert refused.code == 2 and "is a superuser" in refused.err
    made = dict(line.split(maxsplit=1) for line in cli.ok("db", "reader", "ann", "--for", "security").out.splitlines())
    address = {"REMIT_SQL_DATABASE_URL": f"{made['connect']} password={made['password']}"}
    assert cli.ok(*ask, **address).out == "me\nsecurity_ann\n"
    # The login needs nothing else: no address of the authority's, and no data folder.
    assert cli.ok(*ask, "--data-dir", "elsewhere", **address).out == "me\nsecurity_ann\n"
    assert (
        cli.ok(*ask, "--as", "security", **address, REMIT_DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing").out
        == "me\nsecurity_ann\n"
    )
    other = cli(*ask, "--as", "finance", **address)
    assert other.code == 2 and "reads as security and not as finance" in other.err


def test_what_is_open_to_readers_is_said(cli: Cli, system: System, spent: str) -> None:
    """The doctor notes it, and the next command that starts on the database closes it where it may."""
    with psycopg.connect(system.url, autocommit=True) as connection:
        connection.execute("GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint) TO PUBLIC")
    noted = cli.ok("doctor", "--json").json()["notes"]
    assert [note for note in noted if "(pg_advisory_lock(bigint))" in note and "--print-sql" in note]
    assert "pg_advisory_lock" not in cli.ok("db", "readers").err
    assert not [note for note in cli.ok("doctor", "--json").json()["notes"] if "advisory" in note]


def test_a_login_from_another_machine(cli: Cli, spent: str) -> None:
    """What is printed lets a client in, over a tunnel that makes a port of the socket; an ended login is refused."""
    ran = cli.ok("db", "reader", "kim", "--for", "engineering", "--reason", "a dashboard")
    told = dict(line.split(maxsplit=1) for line in ran.out.splitlines())
    assert told["login"] == "engineering_kim" and "once" in ran.err and told["password"] not in told["connect"]
    where = conninfo_to_dict(told["connect"])
    with Tunnel(f"{where['host']}/.s.PGSQL.5432") as port:
        address: dict[str, Any] = {"host": "127.0.0.1", "port": port, "dbname": where["dbname"], "user": told["login"]}
        with psycopg.connect(**address, password=told["password"], sslmode="disable") as connection:
            assert connection.execute("SELECT count(*) > 2 FROM calls").fetchone() == (True,)
        assert {"login": "engineering_kim", "reader": "engineering", "is_active": True} in cli.ok(
            "db", "readers", "--json"
        ).json()
        cli.ok("db", "end", "engineering_kim", "--reason", "done")
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(**address, password=told["password"], sslmode="disable")
    assert "ended" in cli.ok("db", "readers").out
    assert cli("db", "reader", "Kim!", "--for", "finance").code == 2
    assert cli("db", "end", "postgres").code == 2
    printed = cli.ok("db", "reader", "lou", "--for", "finance", "--print-sql")
    assert "finance_lou" in printed.out and "SCRAM-SHA-256$" in printed.out
    assert "finance_lou" not in json.dumps(cli.ok("db", "readers", "--json").json())


class Tunnel:
    """A port of this machine that reaches a Unix socket, as `ssh -L` makes one."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> int:
        self._threads[0].start()
        return int(self._listener.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # it was shut down
            self._threads.append(threading.Thread(target=self._carry, args=(near,)))
            self._threads[-1].start()

    def _carry(self, near: socket.socket) -> None:
        """Until one side leaves."""
        with near, socket.socket(socket.AF_UNIX) as far:
            far.connect(self._path)
            other = {near: far, far: near}
            while True:
                for ready in select.select([near, far], [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    other[ready].sendall(data)


def test_the_dictionary_is_the_page(cli: Cli, spent: str) -> None:
    """What is printed is the reference page, and JSON has the same views."""
    page = Path(__file__).parents[2] / "docs" / "reference" / "data-dictionary.md"
    assert cli.ok("ledger", "dictionary").out == page.read_text(encoding="utf-8")
    assert {view["name"] for view in cli.ok("ledger", "dictionary", "--json").json()} >= {"charges", "calls", "holders"}
