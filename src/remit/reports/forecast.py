"""What a span comes to by its end.

The model: what a day costs is the mean of its weekday over the last eight whole weeks known, and what differs from that is chance,
the same every day. That is a regression on seven weekdays, and the band is its prediction interval: with `n` days known, `h` to come
and `k` of them on a weekday that was seen `m` times, the variance of the sum to come is `s^2 * (h + sum(k^2 / m))`, where `s^2` is the
residuals' sum of squares over `n - 7`; Student's t with `n - 7` degrees of freedom makes it 90 percent. Where a dear day tends to be
followed by another (the residuals' correlation `r` from day to day is above zero), the variance is larger by `(1 + r) / (1 - r)`,
as it is of a sum of an autoregressive series. Nothing in it is left to chance, so the same books make the same forecast.

What it does not know: growth within the eight weeks, holidays, prices. Where those rule, the band is too narrow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from math import isqrt

from remit.kernel.money import divide_half_even
from remit.ledger.model import ReportRow
from remit.ledger.ports import LedgerReader
from remit.ledger.service import spend_report
from remit.reports.total import calendar_span

MIN_DAYS = 14
WINDOW_DAYS = 56
BAND_PERCENT = 90
_DAY = timedelta(days=1)
_SECONDS = 86_400
# Student's t: 95 percent lie below, in thousandths, by degrees of freedom from 7 on; beyond 30 the last one, which is wider than needed.
_T = (1895, 1860, 1833, 1812, 1796, 1782, 1771, 1761, 1753, 1746, 1740, 1734, 1729, 1725, 1721, 1717, 1714, 1711, 1708, 1706,
      1703, 1701, 1699, 1697)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ToCome:
    """What is still to come in a span, in nano-USD: expected, and the ends of the band around it."""

    expected_nanousd: int
    low_nanousd: int
    high_nanousd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A group's month. `days` is how many days were known; with less than 14 of them nothing is forecast."""

    group: tuple[str | None, ...]
    to_date_nanousd: int
    days: int
    expected_nanousd: int | None
    low_nanousd: int | None
    high_nanousd: int | None


def known_days(days: Mapping[date, int], today: date) -> list[tuple[date, int]]:
    """The whole days before today that count, from the first charge on, eight weeks at most; without a charge a day is 0."""
    first = max(min(days, default=today), today - WINDOW_DAYS * _DAY)
    return [(day, days.get(day, 0)) for day in _days(first, today)]


def to_come(days: Mapping[date, int], now: datetime, until: datetime) -> ToCome | None:
    """What is to come between an instant and the end of a span. None where less than 14 days are known."""
    now = now.astimezone(UTC)
    known = known_days(days, now.date())
    if len(known) < MIN_DAYS:
        return None
    weekdays: list[list[int]] = [[amount for day, amount in known if day.weekday() == number] for number in range(7)]
    means = [divide_half_even(sum(amounts), len(amounts)) for amounts in weekdays]
    residuals = [amount - means[day.weekday()] for day, amount in known]
    squares = sum(residual**2 for residual in residuals)
    # How far a dear day is followed by another; never taken for nearly certain.
    follows = min(max(sum(one * two for one, two in pairwise(residuals)), 0), squares * 4 // 5)
    coming = _coming(now, until.astimezone(UTC))
    expected = divide_half_even(sum(means[number] * seconds for number, seconds in enumerate(coming)), _SECONDS)
    freedom = len(known) - 7
    # In squared seconds, so that the remainder of today counts as the part of a day that it is.
    spread = sum(coming) * _SECONDS + sum(seconds**2 // len(weekdays[number]) for number, seconds in enumerate(coming))
    if follows:
        spread = spread * (squares + follows) // (squares - follows)
    deviation = isqrt(squares * spread // freedom) // _SECONDS
    half = deviation * _T[min(freedom - 7, len(_T) - 1)] // 1000
    # What was never below zero on any day will not be.
    least = 0 if all(amount >= 0 for _, amount in known) else expected - half
    return ToCome(expected, max(expected - half, least), expected + half)


def forecast(
    group: tuple[str | None, ...], days: Mapping[date, int], to_date: int, now: datetime, until: datetime
) -> Forecast:
    """A group's forecast: what it is charged so far, and what is to come."""
    coming = to_come(days, now, until)
    known = len(known_days(days, now.astimezone(UTC).date()))
    if coming is None:
        return Forecast(
            group=group, to_date_nanousd=to_date, days=known, expected_nanousd=None, low_nanousd=None, high_nanousd=None
        )
    return Forecast(
        group=group,
        to_date_nanousd=to_date,
        days=known,
        expected_nanousd=to_date + coming.expected_nanousd,
        low_nanousd=to_date + coming.low_nanousd,
        high_nanousd=to_date + coming.high_nanousd,
    )


def forecasts_of(
    ledger: LedgerReader, by: Sequence[str], now: datetime, only: Mapping[str, Sequence[str]] | None = None
) -> tuple[list[Forecast], Forecast]:
    """Forecasts of the month of UTC by group, by what they are charged so far, and of all of them together.

    What belongs to no call is charged, and not expected again.
    """
    month = calendar_span("month", now)
    charged = spend_report(ledger, by, month.since, month.until, only)
    history = spend_report(ledger, ("day", *by), history_since(now), _midnight(now), only)
    to_date = {row.group: row.amount_nanousd for row in charged.rows}
    series: dict[tuple[str | None, ...], dict[date, int]] = {group: {} for group in to_date}
    total: dict[date, int] = {}
    for row in history.rows:
        day = date.fromisoformat(str(row.group[0]))
        calls = calls_of(row)
        series.setdefault(row.group[1:], {})[day] = calls
        total[day] = total.get(day, 0) + calls
    rows = [forecast(group, days, to_date.get(group, 0), now, month.until) for group, days in series.items()]
    rows.sort(key=lambda one: (-one.to_date_nanousd, tuple(value or "" for value in one.group)))
    return rows, forecast((), total, charged.total.amount_nanousd, now, month.until)


def calls_of(row: ReportRow) -> int:
    """What calls cost of what is charged."""
    return row.amount_nanousd - row.booked_nanousd


def history_since(now: datetime) -> datetime:
    """From when on days count."""
    return _midnight(now) - WINDOW_DAYS * _DAY


def _midnight(now: datetime) -> datetime:
    return datetime.combine(now.astimezone(UTC).date(), time(), tzinfo=UTC)


def _coming(now: datetime, until: datetime) -> list[int]:
    """Seconds to come by weekday."""
    found = [0] * 7
    at = now
    while at < until:
        end = min(_midnight(at) + _DAY, until)
        found[at.weekday()] += int((end - at).total_seconds())
        at = end
    return found


def _days(first: date, last: date) -> list[date]:
    return [first + number * _DAY for number in range((last - first).days)]
