"""`remit sinks` and `remit exports`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from remit.testing.peers.usage import EventsPeer
from tests.cli.conftest import Cli, plain_environment
from tests.outward.ground import Books
from tests.outward.test_exports import exporter


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """A ledger of one grant."""
    made = Books(tmp_path)
    yield made
    made.trial.close()


def test_sinks_are_shown_sent_again_and_put_back(books: Books, tmp_path: Path) -> None:
    """Where each is, what it refused and why; `retry` and `rewind` make it due, and an unknown one is said to be unknown."""
    cli = Cli(tmp_path, plain_environment(REMIT_DATABASE_URL=books.url, USER="ada"))
    assert cli.ok("sinks").out == "no sinks\n" and cli.ok("exports").out == "no exports\n"
    wanted = books.call(3)
    with EventsPeer() as events:
        events.refuses = {wanted[1]}
        books.feeder("cloudevents", events.url).round()
    (shown,) = cli.ok("sinks", "--json").json()
    assert (shown["name"], shown["seq"], shown["delivered"], shown["letters"], shown["set"]) == (
        "cloudevents",
        3,
        2,
        1,
        False,
    )
    assert "cloudevents (not set)" in cli.ok("sinks").out
    assert wanted[1] in cli.ok("sinks", "--letters").out
    assert "with 1 entries" in cli.ok("sinks", "retry", "cloudevents").out
    assert "goes on after entry 0; it was at 3" in cli.ok("sinks", "rewind", "cloudevents", "--since", "2026-01-01").out
    refused = cli("sinks", "retry", "nobody")
    assert refused.code != 0 and "no sink `nobody`" in refused.err + refused.out


def test_exports_are_listed(books: Books, tmp_path: Path) -> None:
    """The file of each period, or why there is none yet."""
    cli = Cli(tmp_path, plain_environment(REMIT_DATABASE_URL=books.url, USER="ada"))
    exporter(books, what="report", when="daily", path=str(tmp_path / "{day}.csv"), by=("team",)).round()
    (row,) = cli.ok("exports", "--json").json()
    assert (row["export"], row["period"], row["rows"]) == ("team", "2026-03-29", 0)
    assert "2026-03-29.csv" in cli.ok("exports").out
