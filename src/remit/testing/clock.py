"""A clock that stands still until it is told to move."""

from datetime import UTC, datetime, timedelta


class ManualClock:
    """Implements `remit.kernel.clock.Clock`; both kinds of time move only through the methods below.

    `start_at` must be aware; without one the clock stands at 2026-01-01T00:00:00Z. `monotonic()` starts at 0.
    """

    __slots__ = ("_monotonic", "_now")

    def __init__(self, start_at: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = _in_utc(start_at)
        self._monotonic = timedelta()

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic.total_seconds()

    def advance(self, by: timedelta) -> datetime:
        """Let time pass, on the wall and on the monotonic clock alike; returns the new `now()`."""
        if by < timedelta():
            raise ValueError("time that passes cannot be negative; use `set` for a wall clock that jumps back")
        self._now += by
        self._monotonic += by
        return self._now

    def set(self, now: datetime) -> None:
        """Put the wall clock to an instant, as an administrator or NTP would; the monotonic clock is not touched."""
        self._now = _in_utc(now)

    def advance_to(self, now: datetime) -> None:
        """Let time pass until `now()` is that instant."""
        self.advance(_in_utc(now) - self._now)


def _in_utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return instant.astimezone(UTC)
