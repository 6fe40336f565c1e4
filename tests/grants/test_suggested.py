"""What a grant's use says its limits should be."""

from datetime import UTC, datetime, timedelta

from remit.grants.model import Limit
from remit.grants.suggested import PeriodUse, rounded_up, suggested_limits
from tests.leases.trial import grant

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
USD = 1_000_000_000
MAY, JUNE = datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)


def used(amount: int, start: datetime = MAY) -> list[PeriodUse]:
    return [PeriodUse("usd", "month", start, amount)]


def test_limits_are_suggested_from_full_periods() -> None:
    """The highest use and half as much again, never above the limit nor next to nothing; a part of a period says nothing."""
    monthly = Limit("usd", 1000 * USD, "month")
    one = grant("root", starts_at=NOW - timedelta(days=200), limits=(monthly, Limit("requests", 900, "once")))
    assert suggested_limits(one, used(333 * USD), NOW) == (Limit("usd", 500 * USD, "month"), one.limits[1])
    assert suggested_limits(one, used(900 * USD), NOW) == one.limits
    assert suggested_limits(one, used(1), NOW)[0].amount == USD
    assert suggested_limits(one, [*used(100 * USD), *used(900 * USD, JUNE)], NOW)[0].amount == 150 * USD


def test_of_a_grant_nobody_used_nothing_is_suggested() -> None:
    """Neither where there was no call, nor where there was no full period yet."""
    old = grant("root", starts_at=NOW - timedelta(days=200), limits=(Limit("usd", 1000 * USD, "month"),))
    new = grant("root", starts_at=NOW - timedelta(days=20), limits=old.limits)
    assert suggested_limits(old, [], NOW) == suggested_limits(old, used(0), NOW) == old.limits
    assert suggested_limits(new, used(5 * USD, JUNE), NOW) == old.limits


def test_rounding_up_keeps_two_digits() -> None:
    """Never down, and what has two digits already stays."""
    assert [rounded_up(one) for one in (0, 7, 99, 100, 101, 1234, 9999)] == [0, 7, 99, 100, 110, 1300, 10_000]
