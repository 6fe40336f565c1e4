"""Which prices hold for a model at an instant."""

from datetime import UTC, datetime, timedelta

import pytest

from remit.pricing.book import LayeredPriceBook, StaticCatalogue
from remit.pricing.model import ModelPrices, Rates, TierRates, Unpriced

USD = 1_000_000_000
NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)


def _entry(
    input_usd: int,
    *,
    names: tuple[str, ...] = ("model-a",),
    since: datetime = datetime(2026, 1, 1, tzinfo=UTC),
    until: datetime | None = None,
    window: tuple[int, int] | None = None,
    source: str = "list",
) -> ModelPrices:
    return ModelPrices(
        vendor="acme",
        model=names[0],
        names=frozenset(names),
        tiers={"default": TierRates(Rates(input=input_usd * USD, output=10 * USD))},
        source=source,
        effective_from=since,
        effective_until=until,
        daily_window=window,
    )


def _input_usd(book: LayeredPriceBook, model: str, at: datetime) -> int | None:
    found = book.lookup("acme", model, at)
    return None if isinstance(found, Unpriced) else found.tiers["default"].base.input // USD


def test_an_override_wins_from_its_start_until_the_next() -> None:
    """Before the first override the list price holds, then each override until the next one."""
    changes = [NOON + timedelta(days=10), NOON + timedelta(days=20)]
    overrides = [_entry(2, since=changes[1], source="override"), _entry(3, since=changes[0], source="override")]
    book = LayeredPriceBook(overrides, StaticCatalogue([_entry(5)]))
    second = timedelta(seconds=1)
    instants = [NOON, changes[0] - second, changes[0], changes[1] - second, changes[1], changes[1] + timedelta(365)]
    assert [_input_usd(book, "model-a", at) for at in instants] == [5, 5, 3, 3, 2, 2]
    # The answers are cached; asking in the other order must not find stale ones.
    assert [_input_usd(book, "model-a", at) for at in reversed(instants)] == [2, 2, 3, 3, 5, 5]


def test_an_override_covers_the_dated_ids_of_its_model() -> None:
    """A vendor answers with a dated id; the override of the undated name prices it, one of the dated id wins."""
    listed = StaticCatalogue([_entry(5, names=("model-a", "model-a-2026-01-01", "model-a-2026-03-01"))])
    overrides = [_entry(3), _entry(2, names=("model-a-2026-03-01",))]
    book = LayeredPriceBook(overrides, listed)
    assert _input_usd(book, "model-a", NOON) == 3
    assert _input_usd(book, "model-a-2026-01-01", NOON) == 3
    assert _input_usd(book, "model-a-2026-03-01", NOON) == 2
    assert _input_usd(book, "model-a-2026-09-01", NOON) is None


@pytest.mark.parametrize(
    ("vendor", "model", "at", "reason"),
    [
        ("acme", "model-b", NOON, "`model-b` is not in the price book"),
        ("other", "model-a", NOON, "`model-a` is not in the price book"),
        ("acme", "model-a", datetime(2025, 12, 31, tzinfo=UTC), "no price of `model-a` is in force at 2025-12-31"),
    ],
)
def test_an_unknown_price_says_why(vendor: str, model: str, at: datetime, reason: str) -> None:
    """No model, no vendor and no price yet are unpriced with a reason."""
    found = LayeredPriceBook((), StaticCatalogue([_entry(5)])).lookup(vendor, model, at)
    assert isinstance(found, Unpriced)
    assert reason in found.reason
    assert isinstance(LayeredPriceBook().lookup("acme", "model-a", NOON), Unpriced)


def test_prices_by_the_time_of_day() -> None:
    """Settling takes the window of the instant; a ceiling covers the windows the request may run into."""
    day, night = (6 * 3600, 18 * 3600), (18 * 3600, 6 * 3600)
    book = LayeredPriceBook((), StaticCatalogue([_entry(4, window=day), _entry(1, window=night)]))
    assert [_input_usd(book, "model-a", NOON + timedelta(hours=hour)) for hour in range(-12, 13, 3)] == [
        1, 1, 4, 4, 4, 4, 1, 1, 1,
    ]  # fmt: skip
    found = book.lookup("acme", "model-a", NOON)
    assert isinstance(found, ModelPrices)
    assert [table["default"].base.input // USD for table in found.also_possible] == [1]


@pytest.mark.parametrize(("hours_before", "covered"), [(25, 0), (24, 1), (1, 1), (0, 0), (-1, 0)])
def test_a_ceiling_covers_a_change_that_is_near(hours_before: int, covered: int) -> None:
    """A price that begins within a day of the request may be the one charged, so it is possible too."""
    old, new = _entry(1, until=NOON), _entry(9, since=NOON)
    book = LayeredPriceBook((), StaticCatalogue([old, new]))
    book.lookup("acme", "model-a", NOON - timedelta(hours=30))  # this answer must not be kept for too long
    found = book.lookup("acme", "model-a", NOON - timedelta(hours=hours_before))
    assert isinstance(found, ModelPrices)
    assert len(found.also_possible) == covered
    assert found.tiers["default"].base.input == (1 if hours_before > 0 else 9) * USD


def test_the_cache_does_not_grow_with_made_up_names() -> None:
    """Model names come from callers, so answers about them are kept in bounded memory."""
    book = LayeredPriceBook((), StaticCatalogue([_entry(5)]))
    for number in range(10_000):
        book.lookup("acme", f"model-{number}", NOON)
    assert len(book._answers) <= 4096
    assert _input_usd(book, "MODEL-A", NOON) == 5
