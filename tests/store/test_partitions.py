"""Entries in partitions of months: nothing about the ledger is different for it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from remit.ledger.service import check_books
from remit.store.migrate import migrate, migrations
from remit.store.postgres_rollups import PostgresRollups
from tests.leases.trial import START, Overdraft, Trial, grant, usd
from tests.store.database import empty_database, fresh_database

OUTER = "pg_catalog.pg_inherits WHERE inhparent = 'entries'::regclass"


def filled(url: str) -> Trial:
    """Some calls, one beyond its limit, one in suspense."""
    trial = Trial(url, seed=2)
    trial.clock.instant = datetime(2026, 3, 30, 23, 50, tzinfo=UTC)
    root = trial.write(grant("root", limits=(usd(100),), overdraft=Overdraft(max_nanousd=50)))
    for ceiling, cost in ((90, 80), (60, 40), (10, 17)):
        wanted = trial.hold(root, ceiling)
        assert trial.take(wanted) == [True]
        trial.settle(wanted.id, cost)
        trial.clock.instant += timedelta(hours=12)
    wanted = trial.hold(root, 30, name="hold_suspended")
    assert trial.take(wanted) == [True]
    trial.clock.pass_days(1)
    assert trial.expire() == 1
    return trial


@pytest.fixture(scope="module")
def upgraded() -> Iterator[tuple[Trial, list[Any]]]:
    """A ledger that was filled before there were partitions, and its entries then."""
    url = empty_database()
    with pytest.MonkeyPatch.context() as patch:
        before = [one for one in migrations() if one[0] < "0029"]
        patch.setattr("remit.store.migrate.migrations", lambda: before)
        migrate(url)
    trial = filled(url)
    entries = trial.looking.execute("SELECT to_jsonb(e) FROM entries AS e ORDER BY seq").fetchall()
    trial.close()
    migrate(url)
    after = Trial(url, seed=2)
    after.clock.instant = trial.clock.instant
    after.grants, after.oracle, after._serial = trial.grants, trial.oracle, trial._serial
    yield after, entries
    after.close()


def test_a_ledger_that_was_there_is_as_it_was(upgraded: tuple[Trial, list[Any]]) -> None:
    """Its rows are a partition, with their numbers and hashes; what comes next goes on counting."""
    trial, entries = upgraded
    assert trial.looking.execute("SELECT to_jsonb(e) FROM entries AS e ORDER BY seq").fetchall() == entries
    assert trial.looking.execute("SELECT DISTINCT tableoid::regclass::text FROM entries").fetchall() == [
        ("entries_before",)
    ]
    assert {one.name for one in check_books(trial.ledger) if one.differences} == set()
    wanted = trial.hold(trial.grants["grant_root"], 5)
    assert trial.take(wanted) == [True]
    assert trial.settle(wanted.id, 5) == "settled"
    assert trial.evidence(("hold_suspended", 3, 0)) == ["corrected"]
    numbers = [row[0] for row in trial.looking.execute("SELECT seq FROM entries ORDER BY seq").fetchall()]
    assert numbers[-1] > max(row[0]["seq"] for row in entries)
    assert trial.one("SELECT count(*) FROM entries WHERE entry_hash <> hash_of(entries)") == 0
    PostgresRollups(trial.care._connect).fold()
    assert {one.name for one in check_books(trial.ledger) if one.differences} == set()


def test_an_upgraded_ledger_has_the_privileges_of_a_new_one(upgraded: tuple[Trial, list[Any]]) -> None:
    """On entries, their functions and views; partitions are nobody's but the owner's."""
    trial, _ = upgraded
    rights = (
        "SELECT c.relname, a.grantee::regrole::text, a.privilege_type FROM pg_class AS c, aclexplode(c.relacl) AS a"
        " WHERE c.relname IN ('entries', 'entry_facts', 'postings', 'entries_before') AND a.grantee <> c.relowner"
        " UNION SELECT p.proname, a.grantee::regrole::text, a.privilege_type FROM pg_proc AS p, aclexplode(p.proacl) AS a"
        " WHERE p.proname = 'hash_of' AND a.grantee <> p.proowner ORDER BY 1, 2, 3"
    )
    found = trial.looking.execute(rights).fetchall()
    with psycopg.connect(fresh_database(), options="-c search_path=remit") as other:
        assert found == other.execute(rights).fetchall()
    assert ("hash_of", "remit_reader", "EXECUTE") in found


@pytest.fixture(scope="module")
def parts() -> Iterator[Trial]:
    """A ledger with partitions of four years."""
    url = fresh_database()
    trial = Trial(url)
    for begin in (START, START - timedelta(days=740), START + timedelta(days=740)):
        trial.authority.execute("SELECT ensure_partitions(%s, 24)", (begin,))
    trial.close()
    made = filled(url)
    yield made
    made.close()


@pytest.mark.parametrize(
    "condition",
    [
        "hold_id = 'hold_1' AND kind = 'suspense'",
        "id = 'entry_1'",
        "seq = 7",
        "corrects = 'entry_1'",
        "settlement IS NOT NULL AND settlement ->> 'key' = 'k'",
        "(debtor_id, debt_period) = ('grant_root', 'day')",
        "grant_id = 'grant_root' AND held_at >= '2026-03-01' AND held_at < '2026-04-01'",
        "kind = 'transfer' AND settlement ->> 'transfer_id' = 'x'",
    ],
)
def test_entries_are_found_by_indexes_in_every_partition(parts: Trial, condition: str) -> None:
    """With dozens of partitions as with one: none of them is read as a whole."""
    assert parts.one(f"SELECT count(*) FROM {OUTER}") > 48
    parts.looking.execute("SET enable_seqscan = off")
    plan = [
        row[0] for row in parts.looking.execute(f"EXPLAIN SELECT * FROM entries WHERE {condition}".encode()).fetchall()
    ]
    assert not [line for line in plan if "Seq Scan" in line]
    assert any("Index" in line for line in plan)


def test_a_correction_looks_into_one_partition(parts: Trial) -> None:
    """Evidence about a hold says when it was taken: other months are not even opened."""
    plan = parts.looking.execute(
        "EXPLAIN SELECT FROM entries WHERE hold_id = 'hold_1' AND held_at = '2026-03-30T00:00Z' AND kind = 'suspense'"
    ).fetchall()
    assert "entries_2026_03" in str(plan)
    assert "entries_2026_04" not in str(plan)
    body = parts.one("SELECT prosrc FROM pg_proc WHERE proname = 'correct_suspense'")
    assert body.count("held_at = p_hold.taken_at") == 3


@pytest.mark.parametrize("statement", ["UPDATE {} SET owner = 'x'", "DELETE FROM {}", "TRUNCATE {}"])
@pytest.mark.parametrize("table", ["entries", "entries_2026_03", "entries_default", "entries_before"])
def test_no_partition_is_a_way_around(
    parts: Trial, upgraded: tuple[Trial, list[Any]], table: str, statement: str
) -> None:
    """What entries refuse even to the superuser, each of their partitions does."""
    owner = upgraded[0].looking if table == "entries_before" else parts.looking
    with pytest.raises(psycopg.errors.IntegrityError, match="append-only"):
        owner.execute(statement.format(table).encode())


def test_a_key_is_settled_once_in_all_partitions(parts: Trial) -> None:
    """Also where the second attempt is of another month, and every other guard failed."""
    statement = (
        "INSERT INTO entries (id, kind, amount_nanousd, grant_id, grant_path, node_ids, block_ids, class, owner, tags, tokens,"
        " requests, settlement, periods, held_at, recorded_at, billing_month, vendor, entry_hash)"
        " VALUES (%s, 'adjustment', 1, 'grant_root', 'root', '{grant_root}', '{}', 'production', 'a', '{}', 0, 0,"
        ' \'{"key": "k", "by": "me", "how": "reconciled", "cause": "x"}\', \'[]\', %s, now(), \'2026-03-01\', \'v\', \'\')'
    )
    parts.looking.execute(statement.encode(), ("entry_x", "2026-03-30T12:00Z"))
    with pytest.raises(psycopg.errors.UniqueViolation, match="settled before"):
        parts.looking.execute(statement.encode(), ("entry_y", "2026-05-30T12:00Z"))


def test_partitions_are_made_ahead_and_once(parts: Trial) -> None:
    """A month that has entries in the default already gets none: they stay where they are."""
    late = datetime(2040, 1, 5, tzinfo=UTC)
    parts.clock.instant, before = late, parts.clock.instant
    wanted = parts.hold(parts.grants["grant_root"], 5)
    assert parts.take(wanted) == [True]
    assert parts.settle(wanted.id, 5) == "settled"
    parts.clock.instant = before
    make = "SELECT ensure_partitions(%s, 2)"
    made = parts.authority.execute(make, (late,)).fetchone()
    assert made == (["entries_2040_02", "entries_2040_03"],)
    assert parts.authority.execute(make, (late,)).fetchone() == ([],)
    with pytest.raises(psycopg.errors.CheckViolation):
        parts.authority.execute("SELECT ensure_partitions(now(), 25)")
