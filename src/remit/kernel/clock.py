"""The clock port. Domain code never reads the time by itself; a clock is handed to it."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol, Self


class Clock(Protocol):
    """Source of the two kinds of time."""

    def now(self) -> datetime:
        """The current instant, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards, for timeouts only."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class ShiftedClock:
    """The machine's clock moved by a fixed amount: a rehearsal of another date (`REMIT_CLOCK_AT`).

    Processes that are to agree on the time are handed one `shift`; each that computed its own would begin the rehearsed
    date at its own start.
    """

    def __init__(self, shift: timedelta) -> None:
        self.shift = shift

    @classmethod
    def starting_at(cls, instant: datetime) -> Self:
        """A clock that shows this instant now."""
        return cls(instant.astimezone(UTC) - datetime.now(UTC))

    def now(self) -> datetime:
        return datetime.now(UTC) + self.shift

    def monotonic(self) -> float:
        return time.monotonic()
