"""What reads a month entry by entry reads it from the archive once it has left, or says that it cannot."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from deltalake import DeltaTable

from remit.ledger.accounting import Adjustment
from remit.ledger.model import ArchivedError
from remit.outcomes.model import Event, Join, Wanted
from remit.outcomes.ports import Assertion
from remit.reports.focus.model import Grain
from remit.reports.focus.names import Naming
from remit.reports.focus.service import ExportMismatchError, dataset_rows
from remit.store import postgres_comparing, postgres_focus, postgres_outcomes
from remit.store.archive_reader import open_archive
from remit.store.archived_seals import OpensArchive, no_archive
from remit.store.postgres_accounting import Posted, PostgresAccounting
from remit.store.postgres_outcomes import PostgresOutcomes
from tests.archive.conftest import filled
from tests.archive.ground import NOW, Ground, superuser
from tests.store.database import copy_of

GRAINS: tuple[Grain, ...] = ("hour", "day", "entry")
MONTHS = [date(2026, number, 1) for number in range(1, 7)]
JANUARY, MAY, JUNE = MONTHS[0], MONTHS[4], MONTHS[5]


@dataclass
class Told:
    """What was said of every month before four of them left, and where those are now."""

    ground: Ground
    archive: OpensArchive
    focus: dict[date, list[Any]]
    compared: dict[date, list[Any]]
    outcomes: Any
    ticket: Any

    def ticket_now(self) -> Any:
        """What a ticket of February would show of outcomes."""
        with psycopg.connect(self.ground.trial.url, options="-c search_path=remit") as connection:
            return postgres_outcomes.read_spend_of(connection, "grant_a", datetime(2026, 2, 10, tzinfo=UTC), 30)

    def focus_now(self, month: date, archive: OpensArchive | None = None) -> list[Any]:
        with postgres_focus.open_month(self.ground.trial.url, month, archive or self.archive) as books:
            rows = [list(dataset_rows("cost-and-usage", books, Naming(), grain)) for grain in GRAINS]
            return [*rows, books.total_nanousd(), books.billing_month(), sorted(books.deployments(), key=str)]

    def compared_now(self, month: date, archive: OpensArchive | None = None) -> list[Any]:
        opened = postgres_comparing.open_month(self.ground.trial.url, month, "openai", {}, archive or self.archive)
        with opened as reader:
            return [list(reader.facts()), reader.suspended()]

    def outcomes_now(self, archive: OpensArchive | None = None, **wanted: Any) -> Any:
        store = PostgresOutcomes(self.ground.opens, self.ground.trial.url, archive or self.archive)
        return store.facts(Wanted(by=("grant",), **wanted))


def _prepared(ground: Ground) -> None:
    """January has a call whose cost was found after it was closed, an outcome that its calls are about, and what is no call's."""
    ground.trial.clock.instant = datetime(2026, 1, 20, tzinfo=UTC)
    late = ground.trial.hold(ground.a, 10, 10)
    assert ground.trial.take(late) == [True]
    joins = (Join("window", since=datetime(2026, 1, 1, tzinfo=UTC), until=datetime(2026, 5, 12, tzinfo=UTC)),)
    event = Event(source="desk", event_id="e1", kind="solved", subject="1", status="success", grant_id="grant_a",
                  occurred_at=ground.trial.clock.now(), joins=joins)  # fmt: skip
    said = Assertion(by="desk@acme.example", token_id=None, at=ground.trial.clock.now())
    assert isinstance(PostgresOutcomes(ground.opens, ground.trial.url).record([event], said), list)
    booked = Adjustment(
        grant_id="grant_a",
        vendor="openai",
        amount_nanousd=3,
        held_at=datetime(2026, 1, 20, tzinfo=UTC),
        cause="rounding",
    )
    accounting = PostgresAccounting(ground.opens, ground.trial.clock)
    assert isinstance(
        accounting.post([booked], by="fin@acme.example", reason="because", key="k", source="command"), Posted
    )
    ground.trial.clock.instant = datetime(2026, 6, 2, tzinfo=UTC)
    assert ground.trial.expire() == 1
    ground.trial.looking.execute("UPDATE books SET closed_through = '2026-05-01'")
    assert ground.trial.evidence((late.id, 4, 4)) == ["corrected"]
    ground.trial.clock.instant = NOW
    ground.fold()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    ground = Ground(copy_of(filled().trial.url), tmp_path_factory.mktemp("back") / "archive", filled())
    _prepared(ground)
    made = Told(ground, partial(open_archive, str(ground.folder)), {}, {}, None, None)
    made.focus = {month: made.focus_now(month) for month in MONTHS}
    made.compared = {month: made.compared_now(month) for month in MONTHS}
    made.outcomes, made.ticket = made.outcomes_now(), made.ticket_now()
    ground.archive()
    ground.trial.clock.instant = NOW + timedelta(days=30)
    assert ground.archive().dropped == ["entries_2026_05"] or "entries_2026_05" not in ground.partitions()
    assert len(ground.everywhere()) > len(ground.hot())
    yield made
    ground.close()


def test_focus_is_the_same_after_months_left(told: Told) -> None:
    """Every month, row by row, however it is summed: also one that is here and has what is of a call of a month that left."""
    assert told.ground.trial.looking.execute("SELECT kind FROM entries WHERE held_at < '2026-05-01'").fetchall() == [
        ("adjustment",)
    ]
    for month in MONTHS:
        assert told.focus_now(month) == told.focus[month]
    late = [row for row in told.focus[JUNE][2] if str(row["ChargePeriodStart"]).startswith("2026-01")]
    assert sum(row["BilledCost"] for row in late) == -6


def test_comparing_is_the_same_after_months_left(told: Told) -> None:
    """Every fact and price line, and what is in suspense."""
    for month in MONTHS:
        assert told.compared_now(month) == told.compared[month]
    assert told.compared[JANUARY][0], "nothing to compare"


def test_outcomes_cost_the_same_after_months_left(told: Told) -> None:
    """What belongs to them is found wherever it is."""
    assert told.outcomes_now() == told.outcomes
    assert told.outcomes.spend[0].amount_nanousd > 0


@pytest.mark.parametrize("reads", ["focus_now", "compared_now"])
def test_without_the_archive_a_month_that_left_is_refused(told: Told, reads: str) -> None:
    """It is not said to be empty."""
    with pytest.raises(
        ArchivedError, match="2026-01 left the database, and the archive cannot be read: no archive is set"
    ):
        getattr(told, reads)(JANUARY, no_archive)


def test_without_the_archive_a_month_that_lacks_something_is_refused(told: Told) -> None:
    """June is here, but for what was found in it about January."""
    with pytest.raises(ArchivedError, match="2026-01 left the database"):
        told.focus_now(JUNE, no_archive)


def test_outcomes_are_refused_where_something_is_not_to_be_had(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the archive, or of more months than are read at once; a span that ends before them, or begins behind, is not."""
    with pytest.raises(ArchivedError, match="left the database"):
        told.outcomes_now(no_archive)
    assert told.outcomes_now(no_archive, since=NOW + timedelta(days=15)).spend == ()
    assert told.outcomes_now(no_archive, until=datetime(2026, 1, 1, tzinfo=UTC)).spend == ()
    monkeypatch.setattr(postgres_outcomes, "MOST_MONTHS", 4)
    with pytest.raises(ArchivedError, match="5 months of it are in the archive"):
        told.outcomes_now()


def test_a_ticket_does_not_show_a_part_of_what_outcomes_cost(told: Told) -> None:
    """Where some of it has left it is unknown."""
    assert told.ticket is not None
    assert told.ticket_now() is None


@pytest.fixture
def altered(told: Told, tmp_path: Path) -> Callable[[str], OpensArchive]:
    """A copy of the archive without some rows."""

    def without(where: str) -> OpensArchive:
        shutil.copytree(told.ground.folder, tmp_path / "copy")
        DeltaTable(str(tmp_path / "copy")).delete(where)
        return partial(open_archive, str(tmp_path / "copy"))

    return without


@pytest.mark.parametrize("reads", ["focus_now", "compared_now"])
def test_an_archive_that_lacks_something_is_refused(
    told: Told, altered: Callable[[str], OpensArchive], reads: str
) -> None:
    """As much has to come back as was summed before it left; what is kept of another month is not asked for."""
    archive = altered("seq = 2")
    with pytest.raises(ArchivedError, match=r"of 2026-01 \d+ of \d+ nano-USD left the database, and the archive has"):
        getattr(told, reads)(JANUARY, archive)
    assert getattr(told, reads)(MONTHS[1], archive)


def test_a_month_that_has_expired_is_refused(ground: Ground) -> None:
    """With since when, and what of it."""
    assert len(ground.archive().dropped) == 4
    ground.trial.clock.instant = NOW + timedelta(days=1)
    assert ground.archive(keep_months={"experimentation": 3}).expired
    archive = partial(open_archive, str(ground.folder))
    opened: AbstractContextManager[Any] = postgres_focus.open_month(ground.trial.url, JANUARY, archive)
    with (
        pytest.raises(ArchivedError, match=r"2026-01 experimentation \(\d+\) expired by retention on 2026-06-21"),
        opened,
    ):
        pass
    with postgres_focus.open_month(ground.trial.url, MONTHS[2], archive) as books:
        assert list(books.charges("day"))


def test_what_a_month_comes_to_is_not_summed_from_its_rows(ground: Ground) -> None:
    """An export from which an entry is missing is refused, as the sums that reports read know better."""
    with superuser(ground.trial.url) as owner:
        owner.execute("DELETE FROM entries WHERE seq = (SELECT max(seq) FROM entries WHERE held_at < '2026-06-01')")
    with postgres_focus.open_month(ground.trial.url, MAY) as books, pytest.raises(ExportMismatchError):
        list(dataset_rows("cost-and-usage", books, Naming()))


def test_a_month_that_is_read_back_can_be_read_only(told: Told) -> None:
    """Nothing is written by who reads, whatever it made for itself before."""
    with postgres_focus.open_month(told.ground.trial.url, JANUARY, told.archive) as books:
        list(books.charges("day"))
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            books._connection.execute("CREATE TEMPORARY TABLE more (n integer)")


def test_entries_after_a_number_are_refused_where_some_have_left(told: Told) -> None:
    """What is behind them all is answered."""
    last = told.ground.trial.one("SELECT max(last_seq) FROM ledger_partitions WHERE dropped_at IS NOT NULL")
    gone = told.ground.lake().ask("SELECT max(seq) FROM archived WHERE month < '2026-06'").rows[0][0]
    assert last == gone
    with pytest.raises(ArchivedError, match=f"up to {last} are in the archive alone"):
        told.ground.trial.ledger.require_here(last - 1)
    told.ground.trial.ledger.require_here(last)
