"""Calendar periods in a time zone: half-open, contiguous, computed by one pure function.

Daylight saving makes a local day 23, 24 or 25 hours long; a local midnight may not exist (the clocks jump over
it) or come twice. A period starts at the *first* instant that belongs to its first local day.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal, get_args
from zoneinfo import ZoneInfo

PeriodKind = Literal["minute", "day", "week", "month", "quarter", "once"]
PERIOD_KINDS: tuple[str, ...] = get_args(PeriodKind)

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
FOREVER = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Period:
    """`start <= instant < end`, both UTC."""

    kind: PeriodKind
    start: datetime
    end: datetime

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end


def period_of(kind: PeriodKind, instant: datetime, zone: ZoneInfo) -> Period:
    """The one period of that kind which contains the instant.

    `week` starts on Monday (ISO 8601). `minute` is used by rates and ignores the zone. `once` never ends.
    """
    assert instant.tzinfo is not None, "instants are aware"
    if kind == "once":
        return Period(kind, BEGINNING, FOREVER)
    instant = instant.astimezone(UTC)
    if kind == "minute":
        start = instant.replace(second=0, microsecond=0)
        return Period(kind, start, start + timedelta(minutes=1))
    first = _first_day(kind, instant.astimezone(zone).date())
    # Where the clocks go back across midnight a local date can come twice; walk to the period that holds.
    while instant < _day_start(first, zone):
        first = _first_day(kind, first - timedelta(days=1))
    while instant >= _day_start(following := _next_first_day(kind, first), zone):
        first = following
    return Period(kind, _day_start(first, zone), _day_start(following, zone))


def _day_start(day: date, zone: ZoneInfo) -> datetime:
    """First instant of a local day. fold=0 is the earlier of two midnights, and the jump itself where there is none."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


# No zone is further from UTC than 14 hours.
_FIRST = datetime(1, 1, 1, 14)  # noqa: DTZ001 - compared with an instant whose offset was taken off
_LAST = datetime(9999, 12, 31, 10)  # noqa: DTZ001 - as above


def in_every_zone(instant: datetime) -> bool:
    """Whether there is this instant in UTC and in every time zone: years end at 1 and 9999. Takes an aware one."""
    offset = instant.utcoffset()
    assert offset is not None
    clock = instant.replace(tzinfo=None)
    # Compared without a sum that could itself be out of range.
    return _FIRST - clock <= -offset and clock - _LAST <= offset


def _first_day(kind: PeriodKind, day: date) -> date:
    match kind:
        case "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case "quarter":
            return date(day.year, 3 * ((day.month - 1) // 3) + 1, 1)
        case _:  # pragma: no cover - the other kinds returned before
            raise AssertionError(kind)


def _next_first_day(kind: PeriodKind, first: date) -> date:
    match kind:
        case "day":
            return first + timedelta(days=1)
        case "week":
            return first + timedelta(days=7)
        case "month":
            return _months_later(first, 1)
        case _:
            return _months_later(first, 3)


def _months_later(first: date, months: int) -> date:
    years, month = divmod(first.month - 1 + months, 12)
    return date(first.year + years, month + 1, 1)
