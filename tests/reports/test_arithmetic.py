"""Unit costs, forecasts, coverage and budgets: exact, and nothing where nothing is known."""

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from remit.ledger.model import REPORT_SUMS, ReportRow
from remit.reports.budget import verdict
from remit.reports.coverage import coverage
from remit.reports.forecast import ToCome, forecast, known_days, to_come
from remit.reports.total import Span, calendar_span, merged, span_before
from remit.reports.units import unit_costs

NOW = datetime(2026, 6, 11, 6, tzinfo=UTC)  # a Thursday
JULY = datetime(2026, 7, 1, tzinfo=UTC)


def row(*group: str | None, **sums: int) -> ReportRow:
    return ReportRow(group, **{**dict.fromkeys(REPORT_SUMS, 0), **sums})


def test_units_are_rounded_half_to_even() -> None:
    """Costs are those of calls, over calls and tokens; shares are over what vendors stated."""
    found = unit_costs(
        row("m", requests=4, retries=1, tokens=2000, input_tokens=600, cache_read_tokens=300, cache_write_tokens=100,
            output_tokens=1000, amount_nanousd=110, booked_nanousd=100, suspense_nanousd=3)
    )  # fmt: skip
    assert (found.calls_nanousd, found.per_request_nanousd, found.per_1k_tokens_nanousd) == (10, 2, 5)
    assert (found.cache_hit_ppm, found.retry_ppm, found.output_per_input_ppm) == (300_000, 250_000, 1_000_000)


def test_nothing_over_nothing_is_not_zero() -> None:
    """Without calls, tokens or stated usage there is no cost and no share, however much is charged."""
    found = unit_costs(row("m", amount_nanousd=5, booked_nanousd=5))
    assert (found.per_request_nanousd, found.per_1k_tokens_nanousd) == (None, None)
    assert (found.cache_hit_ppm, found.retry_ppm, found.output_per_input_ppm) == (None, None, None)
    assert unit_costs(row("m", requests=3)).per_request_nanousd == 0


TODAY = NOW.date()


def series(count: int, amount: Any, today: date = TODAY) -> dict[date, int]:
    days = (today - timedelta(days=back) for back in range(count, 0, -1))
    return {day: amount(day) for day in days}


def test_a_week_that_repeats_is_forecast_exactly() -> None:
    """Weekdays that always cost the same come to just that, with no band, and today counts for what is left of it."""
    days = series(56, lambda day: (day.weekday() + 1) * 86_400)
    found = to_come(days, NOW, JULY)
    rest = sum((NOW.date() + timedelta(days=n)).weekday() + 1 for n in range(1, 20)) * 86_400
    assert found == ToCome(rest + 4 * 86_400 * 18 // 24, *[rest + 4 * 86_400 * 18 // 24] * 2)


def test_less_than_two_weeks_forecast_nothing() -> None:
    """13 days are refused and 14 are not; days without a charge count from the first charge on."""
    assert to_come(series(13, lambda _: 5), NOW, JULY) is None
    assert to_come(series(14, lambda _: 5), NOW, JULY) is not None
    assert to_come({}, NOW, JULY) is None
    only = {NOW.date() - timedelta(days=20): 7}
    assert [amount for _, amount in known_days(only, NOW.date())] == [7] + [0] * 19
    refused = forecast(("a",), series(3, lambda _: 5), 15, NOW, JULY)
    assert (refused.days, refused.to_date_nanousd, refused.expected_nanousd, refused.high_nanousd) == (
        3,
        15,
        None,
        None,
    )


def test_only_eight_weeks_before_today_count() -> None:
    """What is older, or of today, changes nothing."""
    days = series(56, lambda _: 5)
    more = {**days, NOW.date() - timedelta(days=57): 10**9, NOW.date(): 10**9}
    assert to_come(more, NOW, JULY) == to_come(days, NOW, JULY)


@pytest.mark.parametrize("shape", ["normal", "skewed", "following"])
@pytest.mark.parametrize("known", [14, 28, 56])
def test_the_band_holds_nine_in_ten(shape: str, known: int) -> None:
    """On simulated spend with weekdays and noise, the band has the month's rest in it about nine times in ten.

    A little less often where a dear day makes the next one dear: how much it does is known from a few weeks only.
    """
    before = 0.0
    chance = random.Random(f"{shape} {known}")
    start = datetime(2026, 6, 11, tzinfo=UTC)

    def amount(day: date) -> int:
        nonlocal before
        mean = 40_000_000 if day.weekday() >= 5 else 100_000_000
        before = 0.6 * before + chance.gauss(0, 0.16)
        noise = {"normal": chance.gauss(1, 0.2), "skewed": chance.gammavariate(4, 0.25), "following": 1 + before}[shape]
        return max(round(mean * noise), 0)

    inside = 0
    for _ in range(400):
        found = to_come(series(known, amount), start, JULY)
        assert found is not None and found.low_nanousd <= found.expected_nanousd <= found.high_nanousd
        rest = sum(amount(start.date() + timedelta(days=n)) for n in range(20))
        inside += found.low_nanousd <= rest <= found.high_nanousd
    # Weekdays here differ in how much they vary, and skewed ones are not normal: the model is a little wrong on purpose.
    assert (0.78 if shape == "following" else 0.86) <= inside / 400 <= 0.96


def test_a_forecast_is_never_less_than_what_was_spent() -> None:
    """Where no day was below zero, the band does not go below what is charged already."""
    days = series(56, lambda day: 10**9 if day.day == 1 else 0)
    found = forecast((), days, 77, NOW, JULY)
    assert found.low_nanousd == 77 and found.expected_nanousd is not None and found.expected_nanousd > 77


@pytest.mark.parametrize(
    ("limit", "posted", "coming", "words"),
    [
        (10, 10, None, "spent"),
        (10, 9, None, "unknown"),
        (10, 5, ToCome(6, 4, 8), "will_exceed"),
        (10, 5, ToCome(5, 3, 7), "may_exceed"),
        (10, 5, ToCome(3, 1, 5), "fits"),
    ],
)
def test_a_budget_is_judged_by_its_forecast(limit: int, posted: int, coming: ToCome | None, words: str) -> None:
    """What is reached is spent; else what is expected decides, then the band, and without a forecast nothing."""
    assert verdict(limit, posted, coming) == words


def test_coverage_is_by_amount_and_names_who_lacks_what() -> None:
    """A charge lacks what it has no tag for; shares are by amount, and of nothing there is none."""
    rows = [
        row("a", "kim", "x", "f", amount_nanousd=60, requests=2),
        row("a", "kim", "x", None, amount_nanousd=30, requests=1),
        row("b", "lou", None, None, amount_nanousd=10, requests=5),
    ]
    found = coverage(("team", "feature"), rows)
    assert (found.charged_nanousd, found.unattributed_nanousd, found.unattributed_ppm) == (100, 40, 400_000)
    assert (found.requests, found.unattributed_requests) == (8, 6)
    assert [(one.tag, one.with_nanousd, one.share_ppm) for one in found.by_tag] == [
        ("team", 90, 900_000),
        ("feature", 60, 600_000),
    ]
    assert [(one.grant, one.owner, one.tags, one.amount_nanousd) for one in found.missing] == [
        ("a", "kim", ("feature",), 30),
        ("b", "lou", ("team", "feature"), 10),
    ]
    assert coverage(("team",), []).unattributed_ppm is None


def test_spans_of_the_calendar() -> None:
    """Months, quarters and years of UTC, each with as many months before it; another span with as much time before."""

    def first(year: int, month: int) -> datetime:
        return datetime(year, month, 1, tzinfo=UTC)

    quarter = calendar_span("quarter", NOW)
    assert quarter == Span(first(2026, 4), first(2026, 7)) and span_before(quarter) == Span(
        first(2026, 1), first(2026, 4)
    )
    assert calendar_span("month", first(2026, 12)) == Span(first(2026, 12), first(2027, 1))
    assert span_before(calendar_span("year", NOW)) == Span(first(2025, 1), first(2026, 1))
    week = Span(NOW, NOW + timedelta(days=7))
    assert span_before(week) == Span(NOW - timedelta(days=7), NOW)


def test_rows_are_merged_by_one_of_their_values() -> None:
    """The largest first, and every sum added up."""
    rows = [
        row("p", "v", amount_nanousd=1, requests=1),
        row("e", "v", amount_nanousd=3),
        row("p", None, amount_nanousd=4),
    ]
    assert [(one.group, one.amount_nanousd, one.requests) for one in merged(rows, 0)] == [
        (("p",), 5, 1),
        (("e",), 3, 0),
    ]
    assert [(one.group, one.amount_nanousd) for one in merged(rows, 1)] == [((None,), 4), (("v",), 4)]
