"""The ceiling is sound, and not higher than it has to be."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.kernel.usage import Usage
from remit.pricing.ceiling import Ceiling, RequestBound, ceiling, servable_tiers
from remit.pricing.cost import Priced, price_usage
from remit.pricing.input_bound import Unbounded
from remit.pricing.model import Band, ModelPrices, Rates, TierRates, Unpriced
from tests.pricing.strategies import model_prices, usages

USD = 1_000_000_000


@settings(max_examples=250, deadline=None)
@given(data=st.data(), prices=model_prices(), audio=st.booleans())
def test_no_usage_within_the_bound_costs_more(data: st.DataObject, prices: ModelPrices, audio: bool) -> None:
    """Whatever the split into kinds, the tier served and the band reached, the cost stays at or below the ceiling."""
    requested = data.draw(st.sampled_from([None, "auto", *(tier for tier in prices.tiers if tier != "batch")]))
    bound = RequestBound(
        input_tokens_max=data.draw(st.integers(0, 1000)),
        output_tokens_max=data.draw(st.integers(0, 300)),
        choices=data.draw(st.integers(1, 4)),
        service_tier=requested,
        input_audio=audio,
        output_audio=audio,
    )
    limit = ceiling(prices, bound)
    assert isinstance(limit, Ceiling)
    table = data.draw(st.sampled_from([prices.tiers, *prices.also_possible]))
    served = data.draw(st.sampled_from(sorted(servable_tiers(requested, table))))
    usage = data.draw(usages(bound.input_tokens_max, bound.output_tokens_max * bound.choices, audio=audio))
    at_that_time = ModelPrices(vendor="acme", model="model-a", names=prices.names, tiers=table, source="test")
    cost = price_usage(at_that_time, usage, served)
    assert isinstance(cost, Priced)
    assert cost.total_nanousd <= limit.nanousd
    assert usage.total_tokens <= limit.tokens


def _prices(**tiers: TierRates) -> ModelPrices:
    return ModelPrices(vendor="acme", model="model-a", names=frozenset({"model-a"}), tiers=tiers, source="test")


PLAIN = TierRates(Rates(input=2 * USD, output=8 * USD))
BOUND = RequestBound(input_tokens_max=1000, output_tokens_max=100)


@pytest.mark.parametrize(
    ("prices", "bound", "nanousd", "tokens"),
    [
        (_prices(default=PLAIN), BOUND, 2_800_000, 1100),
        (
            _prices(default=PLAIN),
            RequestBound(input_tokens_max=1000, output_tokens_max=100, choices=8),
            8_400_000,
            1800,
        ),
        (
            _prices(default=TierRates(Rates(input=2 * USD, output=8 * USD, cache_write=5 * USD // 2))),
            BOUND,
            3_300_000,
            1100,
        ),
        (
            _prices(default=TierRates(PLAIN.base, (Band(999, Rates(input=4 * USD, output=12 * USD)),))),
            BOUND,
            5_200_000,
            1100,
        ),
        (
            _prices(default=TierRates(PLAIN.base, (Band(1000, Rates(input=4 * USD, output=12 * USD)),))),
            BOUND,
            2_800_000,
            1100,
        ),
        (_prices(default=PLAIN, priority=TierRates(Rates(input=4 * USD, output=16 * USD))), BOUND, 5_600_000, 1100),
        (
            _prices(default=PLAIN, priority=TierRates(Rates(input=4 * USD, output=16 * USD))),
            RequestBound(input_tokens_max=1000, output_tokens_max=100, service_tier="default"),
            2_800_000,
            1100,
        ),
        (
            _prices(default=PLAIN, flex=TierRates(Rates(input=USD, output=4 * USD))),
            RequestBound(input_tokens_max=1000, output_tokens_max=100, service_tier="flex"),
            2_800_000,
            1100,
        ),
        (
            _prices(default=TierRates(Rates(input=0, output=0, request=5_000 * USD))),
            BOUND,
            5_000_000,
            1100,
        ),
    ],
    ids=["plain", "choices", "cache write", "band", "below the band", "any tier", "pinned", "fallback", "request fee"],
)
def test_the_ceiling_is_the_dearest_reachable_rate(
    prices: ModelPrices, bound: RequestBound, nanousd: int, tokens: int
) -> None:
    """Every reason for a higher rate counts, and nothing that cannot happen does."""
    limit = ceiling(prices, bound)
    assert isinstance(limit, Ceiling)
    assert (limit.nanousd, limit.tokens, limit.requests) == (nanousd, tokens, 1)
    assert sum(line.amount_nanousd for line in limit.lines) == nanousd


def test_rounding_several_lines_stays_below_the_ceiling() -> None:
    """Three tokens of three kinds are rounded up three times when settled, so one exact sum would be too low."""
    prices = _prices(default=TierRates(Rates(input=510_000, output=0)))
    cost = price_usage(prices, Usage(input_tokens=1, cache_read_tokens=1, cache_write_tokens=1), "default")
    limit = ceiling(prices, RequestBound(input_tokens_max=3, output_tokens_max=0))
    assert isinstance(cost, Priced) and isinstance(limit, Ceiling)
    assert (cost.total_nanousd, limit.nanousd) == (3, 3)


@pytest.mark.parametrize(
    ("bound", "output_price"),
    [
        (RequestBound(input_tokens_max=1, output_tokens_max=1 << 31, choices=128), 100_000_000 * 1_000_000),
        (RequestBound(input_tokens_max=1, output_tokens_max=1 << 53), 0),
    ],
    ids=["cost", "tokens"],
)
def test_a_ceiling_the_books_cannot_hold_is_no_ceiling(bound: RequestBound, output_price: int) -> None:
    """A bound beyond what is stored is a value that says so, not a number that overflows on its way to the books."""
    found = ceiling(_prices(default=TierRates(Rates(input=0, output=output_price))), bound)
    assert isinstance(found, Unbounded)
    assert "more than can be held" in found.reason


def test_a_cost_the_books_cannot_hold_is_unpriced() -> None:
    """A vendor that states an absurd usage cannot make an entry that overflows."""
    prices = _prices(default=TierRates(Rates(input=0, output=100_000_000 * 1_000_000)))
    assert isinstance(price_usage(prices, Usage(output_tokens=1 << 40), "default"), Unpriced)


@pytest.mark.parametrize(
    "bound",
    [
        RequestBound(input_tokens_max=1, output_tokens_max=1, service_tier="scale"),
        RequestBound(input_tokens_max=1, output_tokens_max=1, input_audio=True),
        RequestBound(input_tokens_max=1, output_tokens_max=1, output_audio=True),
    ],
)
def test_what_has_no_price_has_no_ceiling(bound: RequestBound) -> None:
    """A requested tier or a kind in play without a price cannot be held for."""
    assert isinstance(ceiling(_prices(default=PLAIN), bound), Unpriced)
