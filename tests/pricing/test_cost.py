"""What a usage costs."""

from datetime import UTC, datetime

import pytest

from remit.kernel.usage import Usage
from remit.pricing.cost import Priced, price_usage
from remit.pricing.model import Band, ModelPrices, Rates, TierRates, Unpriced

USD = 1_000_000_000

BASE = Rates(input=2 * USD, output=8 * USD, cache_read=USD // 2, cache_write=5 * USD // 2)
LONG = Rates(input=4 * USD, output=12 * USD, cache_read=USD, cache_write=5 * USD)
PRICES = ModelPrices(
    vendor="acme",
    model="model-a",
    names=frozenset({"model-a"}),
    tiers={
        "default": TierRates(BASE, (Band(200_000, LONG),)),
        "priority": TierRates(Rates(input=4 * USD, output=16 * USD)),
        "cheap": TierRates(Rates(input=USD, output=4 * USD)),
    },
    source="test 1",
    effective_from=datetime(2026, 1, 1, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("usage", "tier", "lines", "total_nanousd"),
    [
        (Usage(input_tokens=1000, output_tokens=100), "default", [("input", 1000), ("output", 100)], 2_800_000),
        (Usage(input_tokens=600, cache_read_tokens=400), None, [("input", 600), ("cache_read", 400)], 1_400_000),
        (Usage(cache_write_tokens=1000), "standard", [("cache_write", 1000)], 2_500_000),
        (Usage(input_tokens=200_000), "default", [("input", 200_000)], 400_000_000),
        (Usage(input_tokens=200_001), "default", [("input", 200_001)], 800_004_000),
        (
            Usage(input_tokens=1, cache_read_tokens=200_000, output_tokens=1),
            "default",
            [("input", 1), ("cache_read", 200_000), ("output", 1)],
            4_000 + 200_000_000 + 12_000,
        ),
        (Usage(input_tokens=10, output_tokens=10), "fast", [("input", 10), ("output", 10)], 200_000),
        (Usage(input_tokens=5, cache_read_tokens=5), "priority", [("input", 5), ("cache_read", 5)], 40_000),
        (Usage(input_tokens=7), "default", [("input", 7)], 14_000),
        (Usage(), "default", [], 0),
    ],
)
def test_each_token_is_priced_once(
    usage: Usage, tier: str | None, lines: list[tuple[str, int]], total_nanousd: int
) -> None:
    """A usage becomes one line per kind at the served tier and context band; the lines add up to the cost."""
    priced = price_usage(PRICES, usage, tier)
    assert isinstance(priced, Priced)
    assert [(line.kind, line.units) for line in priced.lines] == lines
    assert priced.total_nanousd == total_nanousd == sum(line.amount_nanousd for line in priced.lines)
    assert sum(line.units for line in priced.lines) == usage.total_tokens
    assert priced.source == "test 1"


@pytest.mark.parametrize(
    ("served", "requested", "tier"),
    [
        ("default", "priority", "default"),
        (None, "priority", "priority"),
        (None, "auto", "default"),
        (None, None, "default"),
        ("priority", None, "priority"),
        (None, "cheap", "default"),
        ("cheap", "cheap", "cheap"),
        ("cheap", None, "cheap"),
    ],
)
def test_the_served_tier_is_charged(served: str | None, requested: str | None, tier: str) -> None:
    """What was served counts; where the vendor does not say, the dearer of what was requested and the default."""
    priced = price_usage(PRICES, Usage(input_tokens=1), served, requested_tier=requested)
    assert isinstance(priced, Priced)
    assert priced.tier == tier


@pytest.mark.parametrize(
    ("usage", "tier"),
    [
        (Usage(input_tokens=1), "scale"),
        (Usage(input_tokens=1), "flex"),
        (Usage(input_audio_tokens=1), "default"),
        (Usage(output_audio_tokens=1), "default"),
    ],
)
def test_what_has_no_price_is_unpriced(usage: Usage, tier: str) -> None:
    """A tier or a used kind without a price is never charged as zero."""
    assert isinstance(price_usage(PRICES, usage, tier), Unpriced)


def test_a_line_is_rounded_half_even_once() -> None:
    """Half a nano-dollar goes to the even neighbour, and each line is rounded by itself."""
    half = ModelPrices(
        vendor="acme",
        model="m",
        names=frozenset({"m"}),
        tiers={"default": TierRates(Rates(input=500_000, output=1_500_000))},
        source="test",
    )
    priced = price_usage(half, Usage(input_tokens=1, output_tokens=1), "default")
    assert isinstance(priced, Priced)
    assert [line.amount_nanousd for line in priced.lines] == [0, 2]


def test_a_request_fee_is_charged_once() -> None:
    """A fee per request is a line of its own, whatever the tokens."""
    fee = ModelPrices(
        vendor="acme",
        model="m",
        names=frozenset({"m"}),
        tiers={"default": TierRates(Rates(input=USD, output=USD, request=5_000 * USD))},
        source="test",
    )
    priced = price_usage(fee, Usage(), "default")
    assert isinstance(priced, Priced)
    assert [(line.kind, line.units, line.amount_nanousd) for line in priced.lines] == [("request", 1, 5_000_000)]
