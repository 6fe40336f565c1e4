"""Calendar periods, above all where clocks misbehave around midnight."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from remit.kernel.periods import BEGINNING, FOREVER, Period, PeriodKind, in_every_zone, period_of

KINDS: tuple[PeriodKind, ...] = ("day", "week", "month", "quarter")
SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)
# Around these the clocks of the zone jump: (zone, instant in UTC).
JUMPS = [
    ("America/Sao_Paulo", datetime(2018, 11, 4, 3, tzinfo=UTC)),  # no midnight
    ("America/Sao_Paulo", datetime(2018, 2, 18, 2, tzinfo=UTC)),  # 23:00-24:00 twice
    ("Asia/Beirut", datetime(2023, 3, 29, 22, tzinfo=UTC)),  # no midnight
    ("Asia/Beirut", datetime(2022, 10, 29, 21, tzinfo=UTC)),
    ("Africa/Cairo", datetime(2024, 4, 25, 22, tzinfo=UTC)),  # no midnight
    ("Africa/Cairo", datetime(2024, 10, 31, 21, tzinfo=UTC)),  # 23:00-24:00 twice
    ("America/St_Johns", datetime(2006, 10, 29, 2, 31, tzinfo=UTC)),  # from 00:01 back to 23:01: midnight twice
    ("America/St_Johns", datetime(2006, 4, 2, 3, 31, tzinfo=UTC)),  # 00:01 -> 01:01
    ("America/Havana", datetime(2023, 11, 5, 5, tzinfo=UTC)),  # 00:00-01:00 twice
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),  # 30 December is left out
    ("Pacific/Kwajalein", datetime(1993, 8, 21, 12, tzinfo=UTC)),  # a day is left out
    ("Pacific/Kiritimati", datetime(1994, 12, 31, 10, tzinfo=UTC)),  # the last day of a year is left out
    ("Pacific/Enderbury", datetime(1994, 12, 31, 11, tzinfo=UTC)),
    ("Asia/Manila", datetime(1978, 3, 21, 16, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2024, 4, 6, 15, tzinfo=UTC)),  # half an hour
    ("Antarctica/Troll", datetime(2024, 3, 31, 1, tzinfo=UTC)),  # two hours
    ("America/New_York", datetime(2024, 3, 10, 7, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2024, 10, 27, 1, tzinfo=UTC)),
    ("America/Godthab", datetime(2023, 3, 26, 1, tzinfo=UTC)),
    ("America/Scoresbysund", datetime(2024, 3, 31, 1, tzinfo=UTC)),  # two hours, across midnight
    ("Asia/Gaza", datetime(2023, 10, 27, 23, tzinfo=UTC)),
    ("UTC", datetime(2024, 2, 29, tzinfo=UTC)),
    ("Asia/Kathmandu", datetime(2024, 2, 28, 18, 15, tzinfo=UTC)),
]
ZONES = sorted({zone for zone, _ in JUMPS})
KIND = st.sampled_from(KINDS)
_SECONDS = st.integers(0, int(datetime(2090, 1, 1, tzinfo=UTC).timestamp()))
INSTANTS = st.builds(
    lambda seconds, micro: datetime.fromtimestamp(seconds, UTC).replace(microsecond=micro),
    _SECONDS,
    st.integers(0, 999_999),
)
NEAR_JUMPS = st.builds(
    lambda jump, offset: (jump[0], jump[1] + offset),
    st.sampled_from(JUMPS),
    st.timedeltas(timedelta(days=-3), timedelta(days=3)) | st.sampled_from([-MICROSECOND, timedelta(), MICROSECOND]),
)


def periods_around(kind: PeriodKind, zone: str, instant: datetime) -> list[Period]:
    """Six days of periods, one after the other, without asking for the same one twice."""
    found: list[Period] = []
    at = instant - timedelta(days=3)
    while not found or found[-1].end < instant + timedelta(days=3):
        found.append(period_of(kind, at, ZoneInfo(zone)))
        at = found[-1].end
    return found


def unit_of(kind: PeriodKind, local: datetime) -> Any:
    """What all local times of one period share."""
    match kind:
        case "day":
            return local.date()
        case "week":
            return local.isocalendar()[:2]
        case "month":
            return (local.year, local.month)
        case _:
            return (local.year, (local.month - 1) // 3)


@pytest.mark.parametrize(("zone", "jump"), JUMPS)
@pytest.mark.parametrize("kind", KINDS)
def test_periods_are_contiguous_where_clocks_jump(zone: str, jump: datetime, kind: PeriodKind) -> None:
    """Around a jump every quarter of an hour is in exactly one period, and each period begins where the last one ends."""
    periods = periods_around(kind, zone, jump)
    for before, after in pairwise(periods):
        assert before.end == after.start
        assert before.start < before.end
    at = jump - timedelta(days=3)
    while at < jump + timedelta(days=3):
        for instant in (at, at - MICROSECOND):
            (home,) = [period for period in periods if instant in period] or [period_of(kind, instant, ZoneInfo(zone))]
            assert period_of(kind, instant, ZoneInfo(zone)) == home
        at += timedelta(minutes=15)


@given(KIND, NEAR_JUMPS | st.tuples(st.sampled_from(ZONES), INSTANTS))
@example("day", ("Pacific/Apia", datetime(2011, 12, 30, 9, 59, 59, tzinfo=UTC)))
@example("day", ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)))
@example("month", ("Pacific/Kiritimati", datetime(1994, 12, 31, 9, 59, tzinfo=UTC)))
def test_an_instant_is_in_its_period_and_its_neighbours_join(kind: PeriodKind, where: tuple[str, datetime]) -> None:
    """The period contains its instant, is the period of its own ends, and touches the ones before and after."""
    zone, instant = ZoneInfo(where[0]), where[1]
    period = period_of(kind, instant, zone)
    assert instant in period
    assert period.start.tzinfo is UTC and period.end.tzinfo is UTC
    assert period_of(kind, period.start, zone) == period == period_of(kind, period.end - MICROSECOND, zone)
    assert period_of(kind, period.end, zone).start == period.end
    assert period_of(kind, period.start - MICROSECOND, zone).end == period.start


@given(KIND, NEAR_JUMPS | st.tuples(st.sampled_from(ZONES), INSTANTS))
def test_a_period_starts_at_the_first_instant_of_its_first_local_day(
    kind: PeriodKind, where: tuple[str, datetime]
) -> None:
    """No earlier instant of the last days shows that local date or a later one of the period."""
    zone = ZoneInfo(where[0])
    period = period_of(kind, where[1], zone)
    unit = unit_of(kind, period.start.astimezone(zone))
    # A local time before the start never belongs to the period: dates come back only after their first instant.
    for minutes in (1, 29, 59, 61, 119, 121, 600, 1441):
        assert unit_of(kind, (period.start - timedelta(minutes=minutes)).astimezone(zone)) != unit
    assert unit_of(kind, (period.start - MICROSECOND).astimezone(zone)) != unit


def test_a_day_that_is_left_out_has_no_period() -> None:
    """Apia went from Thursday the 29th to Saturday the 31st: two periods meet, and none is empty."""
    zone = ZoneInfo("Pacific/Apia")
    skip = datetime(2011, 12, 30, 10, tzinfo=UTC)
    thursday = period_of("day", skip - SECOND, zone)
    saturday = period_of("day", skip, zone)
    assert (thursday.start, thursday.end) == (datetime(2011, 12, 29, 10, tzinfo=UTC), skip)
    assert (saturday.start, saturday.end) == (skip, datetime(2011, 12, 31, 10, tzinfo=UTC))


def test_a_month_whose_last_day_is_left_out_ends_with_the_day_before() -> None:
    """Kiritimati left out 31 December 1994: December and the year end a day early."""
    zone = ZoneInfo("Pacific/Kiritimati")
    skip = datetime(1994, 12, 31, 10, tzinfo=UTC)
    assert period_of("month", skip - SECOND, zone).end == skip == period_of("quarter", skip, zone).start


def test_the_first_midnight_of_two_begins_the_day() -> None:
    """In Havana the hour after midnight comes twice; the day is 25 hours long and starts at the first."""
    period = period_of("day", datetime(2023, 11, 5, 5, 30, tzinfo=UTC), ZoneInfo("America/Havana"))
    assert (period.start, period.end) == (datetime(2023, 11, 5, 4, tzinfo=UTC), datetime(2023, 11, 6, 5, tzinfo=UTC))


def test_a_date_that_comes_back_after_midnight_stays_in_the_new_day() -> None:
    """In St. John's 28 October 2006, 23:01-24:00 came again after a minute of the 29th; periods go on."""
    zone = ZoneInfo("America/St_Johns")
    again = datetime(2006, 10, 29, 3, tzinfo=UTC)
    assert again.astimezone(zone).date() == date(2006, 10, 28)
    assert period_of("day", again, zone).start == datetime(2006, 10, 29, 2, 30, tzinfo=UTC)


def test_leap_days_and_weeks_are_the_calendars() -> None:
    """February of a leap year has 29 days, weeks start on Monday across years, quarters at their first month."""
    zone = ZoneInfo("UTC")
    at = datetime(2024, 2, 29, 12, tzinfo=UTC)
    assert period_of("month", at, zone).end == datetime(2024, 3, 1, tzinfo=UTC)
    assert period_of("day", at, zone).start == datetime(2024, 2, 29, tzinfo=UTC)
    assert period_of("week", datetime(2025, 1, 1, tzinfo=UTC), zone).start == datetime(2024, 12, 30, tzinfo=UTC)
    for month in range(1, 13):
        quarter = period_of("quarter", datetime(2023, month, 28, tzinfo=UTC), zone)
        assert quarter.start == datetime(2023, 3 * ((month - 1) // 3) + 1, 1, tzinfo=UTC)
        assert quarter.end == period_of("quarter", quarter.end, zone).start


@given(INSTANTS, st.sampled_from(ZONES))
def test_minutes_ignore_the_zone_and_once_never_ends(instant: datetime, zone: str) -> None:
    """A minute is the clock's own; `once` is one period for ever."""
    minute = period_of("minute", instant, ZoneInfo(zone))
    assert instant in minute and minute.end - minute.start == timedelta(minutes=1) and minute.start.second == 0
    assert period_of("once", instant, ZoneInfo(zone)) == Period("once", BEGINNING, FOREVER)


@given(NEAR_JUMPS, st.sampled_from(ZONES))
def test_the_zone_an_instant_is_written_in_does_not_matter(where: tuple[str, datetime], other: str) -> None:
    """Periods belong to instants, not to their notation."""
    zone, instant = ZoneInfo(where[0]), where[1]
    assert period_of("day", instant, zone) == period_of("day", instant.astimezone(ZoneInfo(other)), zone)


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("0001-01-01T00:00:00+14:00", False),
        ("0001-01-01T00:00:00+00:00", False),
        ("0001-01-02T00:00:00+00:00", True),
        ("9999-12-31T00:00:00+00:00", True),
        ("9999-12-31T23:59:59+14:00", True),
        ("9999-12-31T23:59:59+00:00", False),
        ("9999-12-31T23:59:59-14:00", False),
    ],
)
def test_an_instant_is_one_in_every_zone(text: str, fits: bool) -> None:
    """Near the first and the last year some zones have no such time, and asking never raises."""
    instant = datetime.fromisoformat(text)
    assert in_every_zone(instant) is fits
    if fits:
        for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):
            instant.astimezone(ZoneInfo(zone))
