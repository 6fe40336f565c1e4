"""Statements on a real server: versions, the same again, overlaps, many at once, and what nobody may change."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any

import psycopg
import pytest

from remit.grants.model import Problem
from remit.reconcile.model import Imported
from remit.reconcile.statements.formats import lines_of
from remit.reconcile.statements.model import Options, StatementError
from remit.reconcile.statements.raw import pack
from remit.store.connect import connect, opener
from remit.store.postgres_audit import PostgresAudit
from remit.store.postgres_statements import PostgresStatements
from remit.testing.clock import ManualClock
from remit.testing.vendor_reports.books import BookRow
from remit.testing.vendor_reports.clouds import focus
from tests.store.database import fresh_database

NOW = datetime(2026, 12, 10, tzinfo=UTC)
NOVEMBER = {"since": datetime(2026, 11, 1, tzinfo=UTC), "until": datetime(2026, 12, 1, tzinfo=UTC)}
_numbers = count(1)


@pytest.fixture(scope="module")
def url() -> str:
    return fresh_database()


@pytest.fixture(scope="module")
def statements(url: str) -> PostgresStatements:
    return PostgresStatements(opener(url, "remit_authority"), ManualClock(NOW))


@pytest.fixture
def account() -> str:
    """An account nobody has used."""
    return f"acct-{next(_numbers)}"


def books(account: str, *tokens: int, day: int = 3) -> bytes:
    rows = [
        BookRow(
            at=datetime(2026, 11, day, 14, tzinfo=UTC),
            model="m",
            used={"input": one},
            costs_nanousd={"input": one},
            account=account,
        )
        for one in tokens
    ]
    return focus(rows)


def take(statements: PostgresStatements, content: bytes, key: str | None = None, **options: Any) -> Imported | Problem:
    return statements.take_in(
        pack([content]),
        "focus",
        Options(**options),
        by="fin@acme.example",
        reason="close",
        key=key or f"key-{next(_numbers)}",
    )


def taken(statements: PostgresStatements, content: bytes, **options: Any) -> dict[str, Any]:
    answer = take(statements, content, **options)
    assert isinstance(answer, Imported), answer
    return answer.statement


def test_a_statement_is_kept_whole(url: str, statements: PostgresStatements, account: str) -> None:
    """Totals, lines, bytes, and who brought it, in the audit as well; its bytes are read anew as they were."""
    content = books(account, 5, 7)
    made = taken(statements, content)
    assert (made["vendor"], made["account"], made["version"], made["lines"]) == ("Anthropic", account, 1, 2)
    assert (made["since"], made["until"]) == tuple(NOVEMBER.values()) and made["amounts"] == {"USD": "0.000000012"}
    assert made["meters"] == {"input": {"lines": 2, "quantity": "12", "amount_nanousd": 12}}
    assert (made["imported_by"], made["imported_at"]) == ("fin@acme.example", NOW)
    rows = statements.lines(made["id"], 0, 100)
    assert [(row["number"], row["quantity"], row["amount_nanousd"]) for row in rows] == [(1, "5", 5), (2, "7", 7)]
    assert [row["number"] for row in statements.lines(made["id"], 1, 100)] == [2]
    kept, pieces = statements.kept(made["id"]), statements.raw(made["id"])
    assert kept is not None and pieces is not None and b"".join(pieces) == content
    again = list(lines_of(kept, "focus", Options.from_kept(made["options"])))
    assert [(line.quantity, line.tags) for line in again] == [(Decimal(row["quantity"]), row["tags"]) for row in rows]
    (told,) = PostgresAudit(opener(url, "remit_authority")).page(5, subject=made["id"])
    assert (told["actor"], told["operation"], told["after"]["sha256"]) == (
        "fin@acme.example",
        "statement import",
        made["sha256"],
    )


def test_the_same_again_is_the_same(statements: PostgresStatements, account: str) -> None:
    """The same bytes answer the same statement, under whatever key, also after a later version; options that change lines do not."""
    first = taken(statements, books(account, 5))
    assert taken(statements, books(account, 5))["id"] == first["id"]
    second = taken(statements, books(account, 5, 6))
    assert (second["version"], second["supersedes"]) == (2, first["id"])
    again = taken(statements, books(account, 5))
    assert (again["id"], again["superseded_by"]) == (first["id"], second["id"])
    final = taken(statements, books(account, 5, 6), is_final=True)
    assert (final["version"], final["is_complete"], final["supersedes"]) == (3, True, second["id"])
    listed = statements.listed(vendor="Anthropic", current=True)
    assert [one["id"] for one in listed if one["account"] == account] == [final["id"]]


def test_what_is_final_stays_final(statements: PostgresStatements, account: str) -> None:
    """Imported again without the word nothing is new; said of the newest version it makes it final, and of an earlier one it brings nothing back."""
    first = taken(statements, books(account, 5), is_final=True)
    again = take(statements, books(account, 5))
    assert isinstance(again, Imported) and not again.is_new
    assert (again.statement["id"], again.statement["is_complete"]) == (first["id"], True)
    second = taken(statements, books(account, 5, 6))
    assert (second["version"], second["is_complete"]) == (2, False), "other lines are open until somebody says so"
    final = taken(statements, books(account, 5, 6), is_final=True)
    assert (final["version"], final["supersedes"], final["is_complete"]) == (3, second["id"], True)
    assert taken(statements, books(account, 5, 6))["id"] == final["id"]
    third = taken(statements, books(account, 5, 7))
    old = taken(statements, books(account, 5, 6), is_final=True)
    assert (old["id"], old["superseded_by"]) == (final["id"], third["id"])
    late = taken(statements, books(account, 5), is_final=True)
    assert late["id"] == first["id"] and third["id"] in {one["id"] for one in statements.listed(current=True)}


def withdrawn(statements: PostgresStatements, statement_id: str, key: str | None = None) -> dict[str, Any] | Problem:
    return statements.withdraw(
        statement_id, by="fin@acme.example", reason="of another account", key=key or f"key-{next(_numbers)}"
    )


def test_a_withdrawn_statement_stands_in_nobodys_way(url: str, statements: PostgresStatements, account: str) -> None:
    """It is kept and not current, overlaps nothing, and the version before it is current again; imported again it is the next version."""
    first, second = taken(statements, books(account, 5)), taken(statements, books(account, 5, 6))

    def current() -> list[str]:
        return [one["id"] for one in statements.listed(current=True, count=1000) if one["account"] == account]

    key = f"{account}-withdraw"
    gone = withdrawn(statements, second["id"], key)
    assert isinstance(gone, dict) and current() == [first["id"]]
    assert (gone["withdrawn_by"], gone["withdrawn_at"], gone["withdrawn_reason"]) == (
        "fin@acme.example",
        NOW,
        "of another account",
    )
    assert withdrawn(statements, second["id"], key) == gone, "the same again is answered as the first time"
    found = statements.find(first["id"])
    assert found is not None and found["superseded_by"] is None and len(statements.lines(second["id"], 0, 10)) == 2
    told = PostgresAudit(opener(url, "remit_authority")).page(5, subject=second["id"])
    assert [one["operation"] for one in told] == ["statement import", "statement withdraw"]
    assert (told[1]["reason"], told[1]["after"]["account"]) == ("of another account", account)

    third = taken(statements, books(account, 5, 6))
    assert (third["version"], third["supersedes"], current()) == (3, second["id"], [third["id"]])
    half = {"since": datetime(2026, 11, 1, tzinfo=UTC), "until": datetime(2026, 11, 15, tzinfo=UTC)}
    assert isinstance(take(statements, books(account, 6), **half), Problem)
    for one in (first, third):
        assert isinstance(withdrawn(statements, one["id"]), dict)
    part = taken(statements, books(account, 6), **half)
    assert (part["version"], current()) == (1, [part["id"]])
    again = take(statements, books(account, 5))
    assert isinstance(again, Problem) and again.code == "statement_overlaps", (
        "what is withdrawn comes back as any other"
    )


def test_what_is_not_there_is_not_withdrawn(url: str, statements: PostgresStatements, account: str) -> None:
    """Nor is it twice, nor under a key that was used for something else; each is audited."""
    made = taken(statements, books(account, 5), key=f"{account}-import")
    assert isinstance(withdrawn(statements, made["id"]), dict)
    for answer, code in (
        (withdrawn(statements, "stmt_never"), "unknown_statement"),
        (withdrawn(statements, made["id"]), "already_withdrawn"),
        (withdrawn(statements, made["id"], f"{account}-import"), "conflict_different_operation"),
    ):
        assert isinstance(answer, Problem) and answer.code == code, answer
    told = PostgresAudit(opener(url, "remit_authority")).page(3, outcome="refused")
    assert {one["operation"] for one in told} == {"statement withdraw"}


def test_a_key_is_for_one_request(statements: PostgresStatements, account: str) -> None:
    """A repetition answers the first statement, other bytes under the key are refused."""
    first = take(statements, books(account, 5), key=f"{account}-once")
    again = take(statements, books(account, 5), key=f"{account}-once")
    assert isinstance(first, Imported) and isinstance(again, Imported)
    assert (first.is_new, again.is_new, again.statement["id"]) == (True, False, first.statement["id"])
    other = take(statements, books(account, 6), key=f"{account}-once")
    assert isinstance(other, Problem) and other.code == "conflict_different_sha256"


def test_overlapping_periods_are_refused(url: str, statements: PostgresStatements, account: str) -> None:
    """Part of a period that is kept would count twice: refused with what to do, audited; beside it is fine."""
    taken(statements, books(account, 5))
    half = {"since": datetime(2026, 11, 15, tzinfo=UTC), "until": datetime(2026, 12, 15, tzinfo=UTC)}
    refused = take(statements, books(account, 6), **half)
    assert isinstance(refused, Problem) and refused.code == "statement_overlaps" and "next version" in refused.detail
    told = PostgresAudit(opener(url, "remit_authority")).page(1, outcome="refused")
    assert [one["code"] for one in told[0]["problems"]] == ["statement_overlaps"]
    december = {"since": datetime(2026, 12, 1, tzinfo=UTC), "until": datetime(2027, 1, 1, tzinfo=UTC)}
    assert taken(statements, books(account, 6), **december)["version"] == 1


def test_what_cannot_be_read_leaves_nothing(url: str, statements: PostgresStatements, account: str) -> None:
    """A bad row at the end of a file, and no line of it is there; the key stays free."""
    bad = books(account, 5, 6).replace(b"Usage,,Input Tokens for m", b"Gift,,Input Tokens for m", 2)
    with pytest.raises(StatementError, match="line 2"):
        take(statements, bad, key=f"{account}-free")
    assert not [one for one in statements.listed() if one["account"] == account]
    assert isinstance(take(statements, books(account, 5), key=f"{account}-free"), Imported)


def test_many_at_once_make_one_statement(url: str, account: str) -> None:
    """Eight imports of the same bytes at the same time answer one statement, and of two other exports each its own version."""
    contents = [books(account, 5)] * 8 + [books(account, 5, number) for number in (6, 7)]
    store = PostgresStatements(opener(url, "remit_authority"), ManualClock(NOW))
    gate = threading.Barrier(len(contents))
    made: list[dict[str, Any]] = []

    def work(content: bytes) -> None:
        gate.wait(30)
        made.append(taken(store, content))

    threads = [threading.Thread(target=work, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == len(contents) and len({one["id"] for one in made}) == 3
    kept = sorted((one for one in store.listed() if one["account"] == account), key=lambda one: one["version"])
    assert [one["version"] for one in kept] == [1, 2, 3]
    assert [one["supersedes"] for one in kept] == [None, kept[0]["id"], kept[1]["id"]]


@pytest.fixture
def owner(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True, options="-c search_path=remit") as connection:
        yield connection


@pytest.mark.parametrize("table", ["statements", "statement_lines", "statement_raw", "statement_withdrawals"])
def test_statements_are_history(
    url: str, owner: psycopg.Connection, statements: PostgresStatements, account: str, table: str
) -> None:
    """Nobody changes or removes one, whatever their rights; readers see lines and not the bytes."""
    withdrawn(statements, taken(statements, books(account, 5))["id"])
    for statement in (f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
            owner.execute(statement.encode())
    with connect(url, "remit_reader") as reader:
        reader.execute("SELECT count(*) FROM statement_lines")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("SELECT packed FROM statement_raw")
