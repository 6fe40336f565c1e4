"""The vendor's own arithmetic and price list."""

import json
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from pathlib import Path
from typing import Any

import pytest
from genai_prices import Usage, calc_price
from hypothesis import given
from hypothesis import strategies as st

from remit.testing.vendor_sim import DEFAULT_PRICES, BilledTokens, InvalidPriceListError, PriceList

PRICE = st.decimals(min_value=0, max_value=1000, places=9, allow_nan=False, allow_infinity=False)
COUNT = st.integers(0, 3_000_000)


def in_decimal(lines: list[tuple[int, Decimal]]) -> int:
    """The amount by another road: dollars in Decimal, rounded to nine places line by line."""
    with localcontext() as context:
        context.prec = 60
        dollars = [(count * price / 1_000_000).quantize(Decimal("1e-9"), ROUND_HALF_EVEN) for count, price in lines]
        return int(sum(dollars) * 10**9)


@given(st.lists(PRICE, min_size=4, max_size=4), COUNT, COUNT, COUNT, COUNT)
def test_amounts_are_those_of_decimal_arithmetic(
    prices: list[Decimal], plain: int, cached: int, written: int, output: int
) -> None:
    """Four lines, each rounded half-even once, whatever the prices and counts."""
    names = ("input", "cached_input", "cache_write", "output")
    row = {name: format(price, "f") for name, price in zip(names, prices, strict=True)}
    model = PriceList({"models": {"m": row}}).models["m"]
    tokens = BilledTokens(
        prompt_tokens=plain + cached + written,
        cached_tokens=cached,
        cache_write_tokens=written,
        completion_tokens=output,
    )
    expected = in_decimal(list(zip((plain, cached, written, output), prices, strict=True)))
    assert model.invoice_nanousd("default", tokens) == expected


@pytest.mark.parametrize(("units", "expected"), [(1, 0), (2, 1), (3, 2), (5, 2), (7, 4)])
def test_halves_go_to_the_even_nano_dollar(units: int, expected: int) -> None:
    """At half a nano-dollar per token an odd count rounds to the even neighbour."""
    model = PriceList({"models": {"m": {"input": "0.0005", "output": "0"}}}).models["m"]
    assert model.invoice_nanousd("default", BilledTokens(prompt_tokens=units)) == expected


def test_the_context_tier_applies_to_the_whole_call_above_its_threshold() -> None:
    """At the threshold the cheap tier holds; one token more and every line is at the dear one."""
    model = PriceList.default().models["sim-tiered"]
    at = BilledTokens(prompt_tokens=200_000, cached_tokens=1000, cache_write_tokens=1000, completion_tokens=1000)
    above = BilledTokens(prompt_tokens=200_001, cached_tokens=1000, cache_write_tokens=1000, completion_tokens=1000)
    assert model.invoice_nanousd("default", at) == 198_000_000 + 100_000 + 1_250_000 + 4_000_000
    assert model.invoice_nanousd("default", above) == 396_002_000 + 200_000 + 2_500_000 + 8_000_000


def test_a_dime_is_a_dime() -> None:
    """One output token of `sim-dime` costs exactly $0.10 and its input nothing."""
    model = PriceList.default().models["sim-dime"]
    assert model.invoice_nanousd("default", BilledTokens(prompt_tokens=999, completion_tokens=1)) == 100_000_000


@pytest.mark.parametrize(
    ("name", "tier"),
    [
        (name, tier)
        for name in ("gpt-4o-mini", "gpt-4o", "gpt-4.1", "gpt-5-mini", "o4-mini")
        for tier in PriceList.default().models[name].rates
    ],
)
def test_real_models_have_their_public_prices(name: str, tier: str) -> None:
    """The built-in list agrees with the published figures of genai-prices, tier by tier."""
    model = PriceList.default().models[name]
    usage = Usage(input_tokens=1_000_000, cache_read_tokens=400_000, output_tokens=1_000_000)
    public = calc_price(
        usage,
        name,
        provider_id="openai",
        genai_request_timestamp=datetime(2026, 10, 20, tzinfo=UTC),
        price_context={"service_tier": tier},
    )
    ours = model.invoice_nanousd(
        tier, BilledTokens(prompt_tokens=1_000_000, cached_tokens=400_000, completion_tokens=1_000_000)
    )
    assert ours == public.total_price * 10**9


def test_a_file_is_laid_over_the_built_in_list(tmp_path: Path) -> None:
    """A row of the file replaces the row of its name, others stay; `replace` drops them all."""
    path = tmp_path / "prices.json"
    row = {"input": "7", "output": "9", "max_output_tokens": 50}
    path.write_text(json.dumps({"models": {"gpt-4o": row}}))
    laid = PriceList.from_file(path)
    assert laid.models["gpt-4o"].rates["default"][0][1].input == 7_000_000_000
    assert laid.models["gpt-4o"].rates["default"][0][1].cached_input == 7_000_000_000
    assert laid.models["gpt-4o"].max_output_tokens == 50
    assert "sim-dime" in laid.models
    path.write_text(json.dumps({"models": {"gpt-4o": row}, "replace": True}))
    assert set(PriceList.from_file(path).models) == {"gpt-4o"}


@pytest.mark.parametrize(
    "row",
    [
        3,
        {"input": "1"},
        {"input": 1, "output": "1"},
        {"input": "-1", "output": "1"},
        {"input": "NaN", "output": "1"},
        {"input": "1e999999", "output": "1"},
        {"input": "0.0000000001", "output": "1"},
        {"input": "x", "output": "1"},
        {"input": "1", "output": "1", "max_output_tokens": 0},
        {"input": "1", "output": "1", "above": {"input": "1", "output": "1"}},
        {"input": "1", "output": "1", "service_tiers": {"gold": {"input": "1", "output": "1"}}},
        {"input": "1", "output": "1", "aliases": ["gpt-4o"]},
    ],
)
def test_a_bad_price_list_is_not_taken(row: Any) -> None:
    """Prices are exact decimal texts, tiers and thresholds are known, names are listed once."""
    with pytest.raises(InvalidPriceListError):
        PriceList({"models": {**DEFAULT_PRICES["models"], "m": row}})
