"""What a grant's use says its limits should be: the highest use of a full period and headroom. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from remit.grants.model import Grant, Limit
from remit.kernel.decisions import Dimension
from remit.kernel.periods import Period, PeriodKind, period_of

WINDOW_DAYS = 30
"""Periods that ended within these days are looked at, or else the last one that ended."""
HEADROOM_PERCENT = 50
LONGEST_PERIOD = timedelta(days=93)
"""A quarter that ended just before the window began is still the last full one."""
# No limit is proposed below this: a dollar, and what a handful of calls take.
_LEAST = {"usd": 1_000_000_000, "tokens": 10_000, "requests": 10}


@dataclass(frozen=True, slots=True)
class PeriodUse:
    """What one limit used in one period: nano-USD, tokens or requests. A period without use may be left out."""

    dimension: Dimension
    period: PeriodKind
    start: datetime
    used: int


def suggested_limits(grant: Grant, use: Iterable[PeriodUse], now: datetime) -> tuple[Limit, ...]:
    """The grant's limits as its full periods say they should be; the same limits where they say nothing.

    Never above what a limit is now. A limit without a full period stays, and so does everything of a grant nobody used: that is
    for a person to say.
    """
    used = {(one.dimension, one.period, one.start): one.used for one in use}
    if not any(used.values()):
        return grant.limits
    found = []
    for limit in grant.limits:
        periods = full_periods(limit, grant, now, WINDOW_DAYS)
        most = max((used.get((limit.dimension, limit.period, one.start), 0) for one in periods), default=None)
        found.append(limit if most is None else enough(limit, most, HEADROOM_PERCENT))
    return tuple(found)


def enough(limit: Limit, most_used: int, headroom_percent: int) -> Limit:
    """The limit with what was used at most and headroom, rounded up; never more than it is."""
    wanted = rounded_up(-(-most_used * (100 + headroom_percent) // 100))
    return replace(limit, amount=min(limit.amount, max(wanted, _LEAST[limit.dimension])))


def rounded_up(amount: int) -> int:
    """The next number with at most two digits that are not zero."""
    step = int(10 ** max(0, len(str(amount)) - 2))
    return -(-amount // step) * step


def full_periods(limit: Limit, grant: Grant, now: datetime, window_days: int) -> list[Period]:
    """The periods of a limit that ended within the window, the newest first, or the last one that ended.

    Without those that began before the grant did; none for a limit without periods.
    """
    if limit.period == "once":
        return []
    zone = ZoneInfo(grant.time_zone)
    since = now - timedelta(days=window_days)
    found: list[Period] = []
    period = period_of(limit.period, now, zone)
    while True:
        period = period_of(limit.period, period.start - timedelta(microseconds=1), zone)
        if period.start < grant.starts_at or (found and period.end <= since):
            return found
        found.append(period)
