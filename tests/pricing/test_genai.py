"""The list prices of the installed catalogue, checked against the catalogue's own arithmetic."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from genai_prices.data import providers
from genai_prices.types import ClauseEquals, ModelInfo, ModelPrice
from genai_prices.types import Usage as TheirUsage

from remit.kernel.usage import Usage
from remit.pricing.book import LayeredPriceBook
from remit.pricing.cost import Priced, price_usage
from remit.pricing.genai import GenaiCatalogue, _convert
from remit.pricing.model import ModelPrices, Unpriced

NOW = datetime(2026, 11, 23, 17, tzinfo=UTC)
BOOK = LayeredPriceBook((), GenaiCatalogue())


def _prices(model: str, at: datetime = NOW, vendor: str = "openai") -> ModelPrices:
    found = BOOK.lookup(vendor, model, at)
    assert isinstance(found, ModelPrices), found
    return found


@pytest.mark.parametrize(
    ("model", "at", "tier", "usage", "usd"),
    [
        ("gpt-4o", NOW, "default", Usage(input_tokens=10**6), "2.5"),
        ("gpt-4o", NOW, "default", Usage(cache_read_tokens=10**6), "1.25"),
        ("gpt-4o-2024-08-06", NOW, "priority", Usage(output_tokens=10**6), "17"),
        ("o3", datetime(2025, 5, 1, tzinfo=UTC), "default", Usage(output_tokens=10**6), "40"),
        ("o3", NOW, "default", Usage(output_tokens=10**6), "8"),
        ("gpt-5.4", NOW, "default", Usage(input_tokens=272_000), "0.68"),
        ("gpt-5.4", NOW, "default", Usage(input_tokens=272_001), "1.360005"),
        ("gpt-5.4", NOW, "flex", Usage(input_tokens=272_001), "0.6800025"),
        ("gpt-4", NOW, "default", Usage(cache_read_tokens=10**6), "30"),
    ],
)
def test_known_prices(model: str, at: datetime, tier: str, usage: Usage, usd: str) -> None:
    """Prices by date, tier, context band and cache kind are the published ones."""
    priced = price_usage(_prices(model, at), usage, tier)
    assert isinstance(priced, Priced)
    assert priced.total_nanousd == int(Decimal(usd) * 10**9)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("gpt-9", "is not in the price book"),
        ("gpt-5-nano-2031-01-01", "is not in the price book"),
        ("ft:gpt-4o-2024-08-06:acme::abc", "is not in the price book"),
        ("text-embedding-3-small", "has no output price"),
        ("gpt-image-2", "bills searches or images"),
        ("gpt-5-image", "bills searches or images"),
        ("gpt-4o-search-preview", "bills searches"),
        ("o3-deep-research", "bills searches"),
    ],
)
def test_what_is_not_priced_by_a_guess(model: str, reason: str) -> None:
    """Unknown models, prefix matches, other units and models with fees of their own are unpriced."""
    found = BOOK.lookup("openai", model, NOW)
    assert isinstance(found, Unpriced)
    assert reason in found.reason


def test_a_dated_snapshot_is_known_by_an_anchored_pattern() -> None:
    """Where the catalogue names snapshots by a whole-name pattern, they are priced as their model."""
    assert _prices("gpt-5.6-sol-2026-08-01").model == "gpt-5.6-sol"


def test_a_free_model_is_unpriced() -> None:
    """A zero in a price list is not believed; only an override may say that something costs nothing."""
    free = ModelInfo(
        id="free",
        match=ClauseEquals("free"),
        prices=ModelPrice(input_mtok=Decimal(0), output_mtok=Decimal(0)),
    )
    found = _convert("acme", free, frozenset({"free"}), "test", None)
    assert isinstance(found, Unpriced)
    assert "the input price of `free` is zero" in found.reason


def test_float_noise_is_rounded_up_and_a_zero_cache_price_is_the_input_price() -> None:
    """What is finer than a nano-dollar never ends up below the listed price, and cached tokens are never free."""
    noisy = ModelInfo(
        id="noisy",
        match=ClauseEquals("noisy"),
        prices=ModelPrice(
            input_mtok=Decimal("0.18000000000000002"), output_mtok=Decimal("0.2"), cache_read_mtok=Decimal(0)
        ),
    )
    found = _convert("acme", noisy, frozenset({"noisy"}), "test", None)
    assert not isinstance(found, Unpriced)
    rates = found[0].tiers["default"].base
    assert (rates.input, rates.price("cache_read")) == (180_000_001, 180_000_001)


def test_a_tier_is_unknown_before_its_prices_are() -> None:
    """A tier whose price begins later has none yet, rather than the standard one."""
    early = _prices("gpt-4.1", datetime(2026, 10, 11, tzinfo=UTC))
    assert set(early.tiers) == {"default"}
    assert {"default", "priority", "batch"} == set(_prices("gpt-4.1").tiers)


def test_time_of_day_prices() -> None:
    """Peak hours are settled as such, and a ceiling off peak covers them."""
    peak = _prices("deepseek-v4-pro", datetime(2026, 11, 23, 2, tzinfo=UTC), "deepseek")
    quiet = _prices("deepseek-v4-pro", datetime(2026, 11, 23, 5, tzinfo=UTC), "deepseek")
    assert peak.tiers["default"].base.input == 2 * quiet.tiers["default"].base.input
    assert any(table["default"].base.input == peak.tiers["default"].base.input for table in quiet.also_possible)


def _models() -> list[tuple[str, str, ModelInfo]]:
    return [
        (provider.id, info.id, info)
        for provider in providers
        if provider.id in {"openai", "azure", "google", "anthropic", "deepseek", "mistral", "x-ai", "groq"}
        for info in provider.models
    ]


def test_every_model_costs_what_the_catalogue_says() -> None:
    """For each model that is priced at all, our lines add up to the catalogue's own calculation."""
    compared = 0
    for at in (NOW, NOW - timedelta(days=200), datetime(2026, 11, 23, 2, 30, tzinfo=UTC)):
        for vendor, model, info in _models():
            prices = BOOK.lookup(vendor, model, at)
            if isinstance(prices, Unpriced) or prices.model != info.id:
                continue
            rates = prices.tiers["default"].base
            if rates.cache_read is None or rates.request:
                continue
            usage = Usage(input_tokens=210_001, cache_read_tokens=1_000, output_tokens=3_000)
            ours = price_usage(prices, usage, "default")
            assert isinstance(ours, Priced)
            theirs = info.get_prices(at).calc_price(
                TheirUsage(input_tokens=211_001, cache_read_tokens=1_000, output_tokens=3_000)
            )["total_price"]
            assert ours.total_nanousd == pytest.approx(int(theirs * 10**9), abs=2), (vendor, model)
            compared += 1
    assert compared > 200


def test_the_package_is_loaded_at_the_first_lookup_only() -> None:
    """A worker that never asks the catalogue does not pay for its data."""
    code = (
        "import sys; from remit.pricing.genai import GenaiCatalogue, _convert; c = GenaiCatalogue(); "
        "assert 'genai_prices' not in sys.modules; c.versions('openai', 'gpt-4o'); assert 'genai_prices' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
