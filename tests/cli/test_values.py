"""Values as people write them, and bars that never lie."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.cli.burn import Burn, burn_line
from remit.cli.codes import CommandError
from remit.cli.values import parse_limit, parse_moment, parse_names
from remit.grants.model import Limit
from remit.kernel.money import format_usd

AMOUNTS = st.integers(0, 2**62)


@given(amount=AMOUNTS, period=st.sampled_from(["day", "week", "month", "quarter", "once"]))
def test_a_limit_means_exactly_what_is_written(amount: int, period: str) -> None:
    """Dollars are exact to the nano-dollar, and every period is understood."""
    usd = format_usd(amount).replace(",", "").removeprefix("$")
    words = "once" if period == "once" else f"per {period}"
    assert parse_limit(f"{usd} usd {words}") == Limit("usd", amount, period)  # type: ignore[arg-type]
    assert parse_limit(f"{amount} tokens {words}").amount == amount


@pytest.mark.parametrize(
    "text",
    [
        *("", "5", "5 usd", "usd 5 per day", "-1 usd per day", "1.5 tokens per day", "1 usd per minute"),
        *("$5 usd per day", "1e3 usd per day", "5 usd per once", "5 usd day", "5 usd per a day"),
        *("010 usd per day", "010 tokens per day", "1_000 tokens per day", "\u0665 tokens per day"),
    ],
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(CommandError):
        parse_limit(text)


def test_a_date_is_the_start_of_a_local_day() -> None:
    """Dates follow the time zone, instants their own offset."""
    assert parse_moment("2027-01-31", "--expires", "Asia/Tokyo") == datetime(2027, 1, 30, 15, tzinfo=UTC)
    assert parse_moment("2027-01-31T12:00:00+02:00", "--expires") == datetime(2027, 1, 31, 10, tzinfo=UTC)


def test_names_are_joined_and_kept_once() -> None:
    """Options may be repeated or joined by commas."""
    assert parse_names(("team,model", "team", " class ")) == ("team", "model", "class")


@given(limit=AMOUNTS, posted=AMOUNTS, held=AMOUNTS)
def test_a_bar_is_as_long_as_ever_and_full_only_at_the_cap(limit: int, posted: int, held: int) -> None:
    """Twenty cells; use of any size shows, and a limit that is not used up never looks used up."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    burn = Burn(
        path="acme",
        limit=Limit("tokens", limit, "day"),
        starts_at=now,
        ends_at=now,
        posted=posted,
        held=held,
        overdraft=0,
        overdraft_posted=0,
        remaining=max(limit - posted - held, 0),
    )
    line = burn_line(burn, 0, unicode=False).plain
    cells = [line.partition("day  ")[2][:20].count(cell) for cell in "#+."]
    assert sum(cells) == 20
    if limit:
        assert (cells[0] == 20) == (posted >= limit) and (cells[0] > 0) == (posted > 0)
