"""Reports that sum to the ledger, and checks that find what is wrong, on a real PostgreSQL."""

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from remit.ledger.accounting import Bearer, Part, Transfer
from remit.ledger.model import ReportRow
from remit.ledger.service import ReportMismatchError, UnknownDimensionError, check_books, spend_report
from remit.store.connect import connect, opener
from remit.store.named import query
from remit.store.postgres_accounting import PostgresAccounting
from remit.store.postgres_ledger import PostgresLedger
from remit.store.postgres_lessor import _hold_json
from remit.store.postgres_rollups import PostgresRollups
from tests.leases.trial import SETTLED, Trial, as_json, grant, usd
from tests.store.database import fresh_database


@pytest.fixture
def trial() -> Iterator[Trial]:
    """Some calls of two grants: one settled, one beyond its ceiling, one in doubt, one open, one voided."""
    made = Trial(fresh_database())
    root = made.write(grant("root", limits=(usd(1_000),)))
    leaves = [made.write(grant(name, root, limits=(usd(500),))) for name in ("a", "b")]
    holds = [made.hold(leaves[number % 2], 50, 10, seconds=60 if number == 2 else 600) for number in range(5)]
    assert all(made.take(*holds))
    made.settle(holds[0].id, 20, 4)
    made.settle(holds[1].id, 70, 10)
    made.clock.instant += timedelta(seconds=61)
    assert made.expire() == 1
    made.void(holds[3].id)
    yield made
    made.close()


def problems(trial: Trial) -> set[str]:
    return {difference.check for result in check_books(trial.ledger) for difference in result.differences}


@pytest.mark.parametrize(
    "by", [("grant",), ("class", "model"), ("team",), ("kind",), ("day", "owner"), ("no-such-tag",)]
)
def test_every_report_sums_to_the_ledger(trial: Trial, by: tuple[str, ...]) -> None:
    """However it is grouped: 20 settled, 70 with overage, 50 in doubt."""
    report = spend_report(trial.ledger, by)
    assert (report.total.amount_nanousd, report.total.suspense_nanousd, report.total.requests) == (140, 50, 3)
    assert sum(row.amount_nanousd for row in report.rows) == trial.ledger.total_nanousd(None, None)


def test_a_correction_takes_a_doubt_out_of_the_report(trial: Trial) -> None:
    """Evidence lowers the total, and nothing is in suspense any more."""
    (waiting,) = trial.ledger.unresolved_suspense()
    assert trial.evidence((waiting["hold_id"], 15, 2)) == ["corrected"]
    report = spend_report(trial.ledger, ("grant",))
    assert (report.total.amount_nanousd, report.total.suspense_nanousd, report.total.tokens) == (105, 0, 16)
    assert trial.ledger.unresolved_suspense() == []


def test_a_report_by_nonsense_is_refused(trial: Trial) -> None:
    """What can be neither a dimension nor a tag is said to be so."""
    with pytest.raises(UnknownDimensionError):
        spend_report(trial.ledger, ("Robert'); --",))


class Forgetful(PostgresLedger):
    """A ledger whose reports lose a group."""

    def report(self, *asked: Any) -> tuple[list[ReportRow], int]:
        rows, total = super().report(*asked)
        return rows[1:], total


def test_a_report_that_does_not_sum_is_not_shown(trial: Trial) -> None:
    """A total that disagrees with the ledger raises instead of being printed."""
    with pytest.raises(ReportMismatchError):
        spend_report(Forgetful(opener(trial.url, "remit_reader"), trial.clock), ("grant",))


def test_reports_and_checks_agree_while_calls_are_booked_and_corrected(trial: Trial) -> None:
    """Entries that go up and down while the books are read never look like a difference."""
    root = trial.write(replace(trial.grants["grant_root"], limits=(usd(10**9),)))
    revision = trial.revision()

    stop = threading.Event()

    def book(writer: int) -> int:
        with connect(trial.url, "remit_authority") as connection:
            for booked in count():
                if stop.is_set():
                    return booked
                hold = trial.hold(root, 1000, name=f"hold_{writer}_{booked}")
                now, taken = trial.clock.now(), as_json([_hold_json(hold)])
                end = as_json([{"id": hold.id, "outcome": "suspense"}])
                said = as_json([{"hold_id": hold.id, "usd": 1, "tokens": 0, "entry": SETTLED}])
                connection.execute("SELECT take_holds(%s, %s, %s::jsonb)", (revision, now, taken))
                connection.execute("SELECT finish_holds(%s, %s::jsonb)", (now, end))
                connection.execute("SELECT apply_evidence(%s, %s::jsonb)", (now, said))
        raise AssertionError

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(book, number) for number in range(3)]
        try:
            for _ in range(6):
                spend_report(trial.ledger, ("grant",))
                assert problems(trial) == set()
        finally:
            stop.set()
        booked = sum(writer.result() for writer in writers)
    assert booked
    assert spend_report(trial.ledger, ("grant",)).total.amount_nanousd == 140 + booked


def test_healthy_books_have_no_differences(trial: Trial) -> None:
    """The doctor looks at something and finds nothing."""
    move = Transfer(
        id="xfer_1",
        held_at=trial.clock.now(),
        sources=[(Bearer(grant_id="grant_a"), 5)],
        parts=[Part(bearer=Bearer(grant_id="grant_b"), amount_nanousd=5)],
        rule="r",
        method="even",
    )
    accounting = PostgresAccounting(trial.care._connect, trial.clock)
    accounting.post([move], by="fin@acme.example", reason="because", key="k", source="command")
    PostgresRollups(trial.care._connect).fold()
    assert problems(trial) == set()
    # No month is over yet.
    assert {result.name for result in check_books(trial.ledger) if not result.examined} == {"months"}


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        ("UPDATE buckets SET posted = posted - 1 WHERE node_id = 'grant_a'", "buckets"),
        ("UPDATE buckets SET posted = posted - 1 WHERE node_id = 'grant_root'", "reports"),
        ("UPDATE entries SET held_at = held_at - interval '1 year' WHERE kind = 'usage'", "reports"),
        ("UPDATE buckets SET held = held - 1 WHERE node_id = 'grant_a'", "buckets"),
        ("UPDATE entries SET amount_nanousd = amount_nanousd - 1 WHERE kind = 'usage'", "hashes"),
        ("DELETE FROM entries WHERE kind = 'suspense'", "settled_once"),
        ("UPDATE holds SET state = 'voided' WHERE state = 'settled'", "settled_once"),
        ("UPDATE holds SET expires_at = expires_at - interval '1 day' WHERE state = 'open'", "overdue_holds"),
    ],
)
def test_each_kind_of_damage_is_found(trial: Trial, damage: str, check: str) -> None:
    """Done by a superuser with triggers off, it is still seen by the check that is about it."""
    trial.looking.execute("SET session_replication_role = replica")
    trial.looking.execute(damage.encode())
    assert check in problems(trial)


def test_the_tail_goes_on_where_it_was_left(trial: Trial) -> None:
    """Entries come oldest first, and after a sequence number only what is newer."""
    entries = trial.ledger.tail(10, None)
    assert [entry["kind"] for entry in entries] == ["usage", "usage", "overage", "suspense"]
    assert [entry["seq"] for entry in trial.ledger.tail(10, entries[1]["seq"])] == [e["seq"] for e in entries[2:]]
    assert len(trial.ledger.tail(2, None)) == 2


@pytest.mark.parametrize("name", ["ledger_newest", "ledger_after"])
def test_the_tail_reads_no_more_than_it_shows(trial: Trial, name: str) -> None:
    """Entries are read in the order of each partition's index, so a long ledger is no slower to look at."""
    trial.looking.execute("SET enable_seqscan = off")
    asked = {"count": 2, "after": 0, "nodes": None}
    plan = "\n".join(row[0] for row in trial.looking.execute(b"EXPLAIN " + query(name), asked).fetchall())
    assert re.search("Limit.*\n.*Merge Append", plan), plan
    assert plan.count("Scan") - plan.count("Subquery Scan") == len(
        re.findall(r"Index Scan.* using entries_\w+_pkey", plan)
    )


def test_a_sum_of_a_grant_reads_only_entries_below_it(trial: Trial) -> None:
    """A limit that changes keeps everybody waiting for as long as its own entries take, not all there are."""
    assert trial.one("SELECT ledger_sum('grant_b', 'usd', '1970-01-01', '9999-12-31')") == 70
    trial.looking.execute("SET session_replication_role = replica")
    trial.looking.execute("UPDATE entries SET node_ids = '{grant_root,grant_a,grant_b}' WHERE grant_id = 'grant_a'")
    assert trial.one("SELECT ledger_sum('grant_b', 'usd', '1970-01-01', '9999-12-31')") == 70
