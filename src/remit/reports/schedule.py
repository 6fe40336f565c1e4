"""Which periods of a schedule are over, and when their files are due. Days and hours of UTC."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

# Who was away for longer gets the newest of them: a file for each day of years is nobody's wish.
MAX_CAUGHT_UP = 35


@dataclass(frozen=True, slots=True)
class Schedule:
    """A file for each period, due at an hour after its end: of a month on that day of the next one."""

    when: Literal["daily", "weekly", "monthly"]
    hour: int
    day: int = 1

    def begin(self, of: date) -> date:
        """The first day of the period that a day is in; weeks begin on Monday."""
        if self.when == "monthly":
            return of.replace(day=1)
        return of - timedelta(days=of.weekday()) if self.when == "weekly" else of

    def after(self, period: date) -> date:
        """The first day of the next period."""
        if self.when == "monthly":
            return (period + timedelta(days=31)).replace(day=1)
        return period + timedelta(days=7 if self.when == "weekly" else 1)

    def due_at(self, period: date) -> datetime:
        """From when on the file of a period is written."""
        first = self.after(period) + timedelta(days=self.day - 1 if self.when == "monthly" else 0)
        return datetime.combine(first, time(self.hour), UTC)

    def newest_due(self, now: datetime) -> date:
        """The newest period whose file is due."""
        period = self.begin(now.astimezone(UTC).date())
        while self.due_at(period) > now:
            period = self.begin(period - timedelta(days=1))
        return period

    def due_since(self, last: date | None, now: datetime) -> list[date]:
        """Periods that are due after the last one there is a file for, oldest first; where there was none, the newest alone."""
        period = self.newest_due(now)
        found: list[date] = []
        while len(found) < MAX_CAUGHT_UP and (period > last if last is not None else not found):
            found.append(period)
            period = self.begin(period - timedelta(days=1))
        return found[::-1]


def file_name(pattern: str, period: date) -> str:
    """The path with `{year}`, `{month}` and `{day}` filled in, by the first day of the period."""
    return pattern.format(year=f"{period:%Y}", month=f"{period:%Y-%m}", day=f"{period:%Y-%m-%d}")
