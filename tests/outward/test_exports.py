"""Files that are written once for each period that is over."""

import csv
import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from remit.bootstrap.outward import make_exporters
from remit.jobs.exporter import Exporter
from remit.reports.schedule import Schedule, file_name
from remit.settings import ExportSettings, Settings
from tests.outward.ground import Books


def exporter(books: Books, **terms: object) -> Exporter:
    settings = Settings(exports=(ExportSettings(**{"name": "team", "hour": 3, **terms}),))  # type: ignore[arg-type] # a table
    (made,) = make_exporters(settings, books.url, books.trial.ledger, books.sinks, books.clock)
    return made


@pytest.mark.parametrize(
    ("when", "now", "newest"),
    [
        ("daily", datetime(2026, 3, 2, 2, 59, tzinfo=UTC), date(2026, 2, 28)),
        ("daily", datetime(2026, 3, 2, 3, 0, tzinfo=UTC), date(2026, 3, 1)),
        ("weekly", datetime(2026, 11, 30, 2, 59, tzinfo=UTC), date(2026, 11, 16)),
        ("weekly", datetime(2026, 11, 30, 3, 0, tzinfo=UTC), date(2026, 11, 23)),
        ("monthly", datetime(2026, 1, 5, 2, 59, tzinfo=UTC), date(2025, 11, 1)),
        ("monthly", datetime(2026, 1, 5, 3, 0, tzinfo=UTC), date(2025, 12, 1)),
    ],
)
def test_a_period_is_due_at_its_hour(when: str, now: datetime, newest: date) -> None:
    """The file of a period is due when it is over and the hour has come, and of a month on its day."""
    schedule = Schedule(when, 3, 5 if when == "monthly" else 1)  # type: ignore[arg-type] # one of the three
    assert schedule.newest_due(now) == newest
    assert schedule.due_since(None, now) == [newest]
    assert schedule.due_since(newest, now) == []


def test_days_that_were_missed_are_caught_up() -> None:
    """Whoever was away writes every file that is missing, oldest first, and of years only the newest."""
    schedule, now = Schedule("daily", 3), datetime(2026, 3, 5, 4, tzinfo=UTC)
    assert schedule.due_since(date(2026, 3, 1), now) == [date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 4)]
    assert len(schedule.due_since(date(2020, 1, 1), now)) == 35
    assert file_name("{year}/{month}/{day}.csv", date(2026, 3, 2)) == "2026/2026-03/2026-03-02.csv"


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """A ledger of one grant."""
    made = Books(tmp_path)
    yield made
    made.trial.close()
    made.trial.close()


def test_a_report_is_written_once_a_day(books: Books, tmp_path: Path) -> None:
    """The file has the day's charges, is written once, and the next day's is another one."""
    books.call(3, amount=1_000_000_000)
    begun = books.clock.now().date()
    out = tmp_path / "out" / "{month}" / "{day}.csv"
    export = exporter(books, what="report", when="daily", path=str(out), by=("team",))
    books.wait(timedelta(days=1, hours=4))
    books.call(1)
    assert [export.round(), export.round()] == [1, 0]
    path = tmp_path / "out" / f"{begun:%Y-%m}" / f"{begun}.csv"
    with path.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["team"], row["amount_nanousd"], row["amount_usd"]) == ("search", "3000000000", "3.00")
    books.wait(timedelta(days=2))
    assert export.round() == 2
    assert [one["rows"] for one in books.sinks.exports(10)] == [1, 0, 1]


def test_a_file_that_cannot_be_written_is_tried_again(books: Books, tmp_path: Path) -> None:
    """Why is shown, nothing half is left behind, and when the reason is gone the file is there."""
    books.call()
    (tmp_path / "out").write_text("no folder")
    export = exporter(books, what="focus", when="monthly", path=str(tmp_path / "out" / "{month}.csv"))
    books.wait(timedelta(days=3))
    assert export.round() == 0
    (row,) = books.sinks.exports(10)
    assert row["written_at"] is None and row["attempts"] == 1 and "Error" in row["error"]
    (tmp_path / "out").unlink()
    assert export.round() == 0, "it waits"
    books.wait(timedelta(minutes=1))
    assert export.round() == 1
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["2026-03.csv"]
    assert "BilledCost" in (tmp_path / "out" / "2026-03.csv").read_text()


@pytest.mark.parametrize("more", [{"what": "focus"}, {"what": "report", "by": ("team",)}])
def test_a_pipe_is_no_place_for_a_file(books: Books, tmp_path: Path, more: dict[str, object]) -> None:
    """What has the name of a file that is due, and is no file, stays, and why nothing is written is shown."""
    books.call()
    pipe = tmp_path / "2026-03.csv"
    os.mkfifo(pipe)
    export = exporter(books, when="monthly", path=str(tmp_path / "{month}.csv"), **more)
    books.wait(timedelta(days=3))
    assert export.round() == 0
    (row,) = books.sinks.exports(10)
    assert row["written_at"] is None and "what is there is no regular file" in row["error"]
    assert pipe.is_fifo() and not [one for one in tmp_path.iterdir() if one.name.startswith(".")]
