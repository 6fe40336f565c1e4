"""How a span of time is read from sums by day and by hour, and, where it cuts an hour, from entries."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

Span = tuple[datetime, datetime]

# What a span without a bound reads: before and after everything. Within what both Python and PostgreSQL can count on.
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, tzinfo=UTC)
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Slices:
    """Parts that together are the span, none twice: whole days of UTC, then whole hours, then what is left. Half-open.

    `days` is None where the span has no whole day. `hours` and `rest` have at most two parts, before and after.
    """

    days: tuple[date, date] | None
    hours: tuple[Span, ...]
    rest: tuple[Span, ...]


def slices(since: datetime | None, until: datetime | None) -> Slices:
    """The parts of `since <= t < until`; a bound that is None is open."""
    begin = _FIRST if since is None else since.astimezone(UTC)
    end = _LAST if until is None else min(until.astimezone(UTC), _LAST)
    if begin >= end:
        return Slices(None, (), ())
    days = _whole(begin, end, _DAY)
    if days is None:
        hours = _whole(begin, end, _HOUR)
        inner = () if hours is None else (hours,)
        return Slices(None, inner, _around((begin, end), hours))
    parts = [hours for part in _around((begin, end), days) if (hours := _whole(*part, _HOUR)) is not None]
    covered = (min(days[0], *(one[0] for one in parts)), max(days[1], *(one[1] for one in parts))) if parts else days
    return Slices((days[0].date(), days[1].date()), tuple(parts), _around((begin, end), covered))


def _whole(begin: datetime, end: datetime, unit: timedelta) -> Span | None:
    """The whole units between two instants, None where there is none."""
    first = begin + (_FIRST - begin) % unit
    last = end - (end - _FIRST) % unit
    return (first, last) if first < last else None


def _around(span: Span, inner: Span | None) -> tuple[Span, ...]:
    """What of a span is before and after a part of it."""
    if inner is None:
        return (span,)
    return tuple(part for part in ((span[0], inner[0]), (inner[1], span[1])) if part[0] < part[1])
