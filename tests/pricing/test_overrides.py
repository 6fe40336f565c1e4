"""Prices as operators write them."""

import re
import tomllib
from datetime import UTC, datetime
from typing import Any

import pytest

from remit.kernel.usage import Usage
from remit.pricing.book import LayeredPriceBook
from remit.pricing.cost import Priced, price_usage
from remit.pricing.model import ModelPrices
from remit.pricing.overrides import InvalidOverrideError, parse_overrides

SETTINGS = """
[[prices]]
vendor = "acme"
model = "Model-A"
aliases = ["model-a-2026-01-01"]
from = 2026-10-01T00:00:00Z
input = "2.25"
output = "9.00"
cache_read = "1.10"
request = "0.005"
context_tokens = 128000
max_output_tokens = 16384
max_image_tokens = 1445
tiers = [{ above_input_tokens = 1000, input = "4.50", output = "13.50" }]
service_tiers = { fast = { input = "4.00", tiers = [] }, flex = { output = "4.5" } }
"""


def test_an_override_is_read_in_full() -> None:
    """Every key of a settings table ends up in the price it describes."""
    (entry,) = parse_overrides(tomllib.loads(SETTINGS)["prices"])
    assert entry.names == {"model-a", "model-a-2026-01-01"}
    assert entry.effective_from == datetime(2026, 10, 1, tzinfo=UTC)
    assert (entry.context_tokens, entry.max_output_tokens, entry.max_image_tokens) == (128_000, 16_384, 1_445)
    assert re.fullmatch("override:[0-9a-f]{12}", entry.source)
    default, fast, flex = entry.tiers["default"], entry.tiers["priority"], entry.tiers["flex"]
    assert (default.base.input, default.base.cache_read, default.base.cache_write) == (
        2_250_000_000,
        1_100_000_000,
        None,
    )
    assert default.bands[0].rates.input == 4_500_000_000
    assert default.bands[0].rates.cache_read == 1_100_000_000
    assert fast.base.input == 4_000_000_000 and fast.base.output == 9_000_000_000 and fast.bands == ()
    assert flex.base.output == 4_500_000_000 and flex.bands[0].rates.output == 13_500_000_000
    book = LayeredPriceBook([entry])
    prices = book.lookup("acme", "model-a-2026-01-01", datetime(2026, 11, 1, tzinfo=UTC))
    assert isinstance(prices, ModelPrices)
    priced = price_usage(prices, Usage(input_tokens=1000), "default")
    assert isinstance(priced, Priced)
    assert priced.total_nanousd == 2_250_000 + 5_000_000


def test_an_override_is_named_by_its_content() -> None:
    """The same prices have the same source however they are written; any other price, instant or bound has another."""
    (entry,) = tomllib.loads(SETTINGS)["prices"]

    def source(**changed: Any) -> str:
        return parse_overrides([{**entry, **changed}])[0].source

    rewritten = dict(reversed(list(entry.items()))) | {"from": "2026-10-01T02:00:00+02:00", "input": "2.250"}
    assert parse_overrides([rewritten])[0].source == source()
    changes: list[dict[str, Any]] = [
        {"input": "2.26"},
        {"from": "2026-10-02T00:00:00Z"},
        {"max_image_tokens": 1446},
        {"aliases": []},
        {"tiers": []},
        {"service_tiers": {}},
    ]
    assert len({source(), *(source(**change) for change in changes)}) == 1 + len(changes)


def test_zero_is_legal_when_written() -> None:
    """A model that costs nothing is priced at zero on purpose."""
    (entry,) = parse_overrides([{"vendor": "local", "model": "m", "input": "0", "output": "0"}])
    priced = price_usage(entry, Usage(input_tokens=10**9, output_tokens=10**9), None)
    assert isinstance(priced, Priced)
    assert priced.total_nanousd == 0


GOOD: dict[str, Any] = {"vendor": "acme", "model": "m", "input": "1", "output": "2"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vendor": None}, "price override 1: `vendor` is missing"),
        ({"input": None}, "`input` is missing"),
        ({"input": 2.5}, "`input` is an amount of US dollars as text"),
        ({"input": "two"}, "`input`: `two` is not a decimal amount"),
        ({"input": "-1"}, "`input`: `-1` is not a decimal amount"),
        ({"input": "NaN"}, "`input`"),
        ({"input": "0.0000000001"}, "finer than a nano-dollar"),
        ({"outptu": "1"}, "unknown key `outptu`"),
        ({"context_tokens": "128k"}, "`context_tokens` is a number of tokens"),
        ({"max_output_tokens": True}, "`max_output_tokens` is a number of tokens"),
        ({"from": "yesterday"}, "`from` is not an RFC 3339 instant"),
        ({"from": "2026-01-01T00:00:00"}, "`from` is an instant with an offset"),
        ({"tiers": [{"input": "1"}]}, "`above_input_tokens` is missing"),
        ({"tiers": [{"above_input_tokens": 1}, {"above_input_tokens": 1}]}, "begin at the same number"),
        ({"tiers": "x"}, "`tiers` is a list of tables"),
        ({"service_tiers": {"flex": {"inptu": "1"}}}, "service tier `flex`: unknown key `inptu`"),
        ({"aliases": "x"}, "`aliases` is a list of model ids"),
    ],
)
def test_a_mistake_is_named(change: dict[str, Any], message: str) -> None:
    """The error says which entry and which key, in words."""
    entry = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    with pytest.raises(InvalidOverrideError) as raised:
        parse_overrides([entry])
    assert message in str(raised.value)


def test_the_same_start_twice_is_a_mistake() -> None:
    """Two overrides of one name from one instant leave open which counts, so they are refused."""
    with pytest.raises(InvalidOverrideError, match="price override 2: `m` of `acme`"):
        parse_overrides([GOOD, {**GOOD, "model": "other", "aliases": ["m"]}])
