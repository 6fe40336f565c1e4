"""What a child counts for is a true bound, checked against the calendar and against greedy spending."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.grants.model import LIMIT_PERIODS, Limit
from remit.grants.shares import periods_lived, periods_touched, shares_of
from remit.grants.tree import Tree
from remit.kernel.periods import Period, PeriodKind, period_of
from tests.grants.builders import grant

CALENDAR: tuple[PeriodKind, ...] = ("day", "week", "month", "quarter")
UTC_ZONE = ZoneInfo("UTC")
START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)


def periods(kind: PeriodKind, start: datetime, end: datetime, zone: ZoneInfo = UTC_ZONE) -> list[Period]:
    """All periods that share an instant with `start <= instant < end`."""
    found = [period_of(kind, start, zone)]
    while found[-1].end < end:
        found.append(period_of(kind, found[-1].end, zone))
    return found


@pytest.mark.parametrize(("own", "above"), [(a, b) for a in CALENDAR for b in CALENDAR if a != b])
def test_the_factors_are_those_of_the_calendar(own: PeriodKind, above: PeriodKind) -> None:
    """Over twelve years, the most periods of one kind that touch one of the other is the factor, exactly."""
    most = max(len(periods(own, outer.start, outer.end)) for outer in periods(above, START, END)[1:-1])
    long_lived = grant("acme", starts_at=START, expires_at=END)
    assert periods_touched(long_lived, own, above) == most


@given(
    st.sampled_from(CALENDAR),
    st.datetimes(datetime(2024, 1, 1), datetime(2026, 1, 1)),  # noqa: DTZ001
    st.integers(1, 20_000_000),
    st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"]),
)
def test_the_periods_of_a_life_are_counted_exactly(kind: PeriodKind, naive: datetime, seconds: int, zone: str) -> None:
    """The number of periods that a grant lives through is what walking the calendar finds."""
    start = naive.replace(tzinfo=UTC)
    end = start + timedelta(seconds=seconds)
    assert periods_lived(kind, start, end, ZoneInfo(zone)) == len(periods(kind, start, end, ZoneInfo(zone)))


@given(
    st.dictionaries(st.sampled_from(LIMIT_PERIODS), st.integers(0, 1000), min_size=1),
    st.sampled_from(CALENDAR),
    st.integers(0, 2000),
    st.integers(1, 800),
)
def test_greedy_spending_stays_within_the_share(
    amounts: dict[PeriodKind, int], above: PeriodKind, day: int, days: int
) -> None:
    """A child that spends all it may, day by day, in any period of its parent, spends at most what it counts for."""
    start = START + timedelta(days=day)
    limit = Limit("tokens", 0, above)
    parent = grant("acme", limits=(limit,), starts_at=START, expires_at=END)
    own = tuple(Limit("tokens", amount, kind) for kind, amount in amounts.items())
    child = grant("acme/a", parent, limits=own, starts_at=start, expires_at=start + timedelta(days=days))
    shares = shares_of(Tree([parent, child]), parent, limit, start)
    share = sum(one.amount for one in shares)
    outer = period_of(above, start + timedelta(days=days // 2), UTC_ZONE)
    spent: dict[Period, int] = {}
    total = 0
    for offset in range(days):
        now = start + timedelta(days=offset)
        if now in outer:
            buckets = {period_of(kind, now, UTC_ZONE): amount for kind, amount in amounts.items()}
            free = min(amount - spent.get(bucket, 0) for bucket, amount in buckets.items())
            spent |= {bucket: spent.get(bucket, 0) + free for bucket in buckets}
            total += free
    assert total <= share
