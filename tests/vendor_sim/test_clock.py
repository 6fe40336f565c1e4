"""The clock that stands still."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from remit.kernel.clock import Clock
from remit.testing.clock import ManualClock


def test_time_moves_only_when_told() -> None:
    """Both kinds of time stand still, and pass together."""
    clock: Clock = ManualClock(datetime(2026, 3, 8, 1, tzinfo=timezone(timedelta(hours=-5))))
    assert isinstance(clock, ManualClock)
    assert clock.now() == clock.now() == datetime(2026, 3, 8, 6, tzinfo=UTC)
    assert clock.now().tzinfo is UTC
    assert clock.advance(timedelta(hours=1)) == datetime(2026, 3, 8, 7, tzinfo=UTC)
    clock.advance_to(datetime(2026, 3, 8, 8, tzinfo=UTC))
    assert clock.monotonic() == 7200


def test_the_wall_clock_can_jump_and_the_monotonic_one_cannot() -> None:
    """A wall clock that is put back leaves the monotonic one where it was."""
    clock = ManualClock()
    clock.set(datetime(2020, 1, 1, tzinfo=UTC))
    assert (clock.now().year, clock.monotonic()) == (2020, 0)
    with pytest.raises(ValueError, match="negative"):
        clock.advance(timedelta(seconds=-1))
    with pytest.raises(ValueError, match="time zone"):
        clock.set(datetime(2020, 1, 1))  # noqa: DTZ001 - what is shown here is that it is not taken
