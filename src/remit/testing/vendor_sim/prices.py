"""The vendor's own price list and its own arithmetic.

Nothing here is shared with Remit's price book, on purpose: the books are evidence only if a mistake in one of the two
cannot be in the other. Prices are read as decimal US dollars per million tokens, kept as integer nano-USD per million
tokens; a line is `tokens * price / 1_000_000` nano-USD, rounded half-even once.
"""

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import msgspec

DEFAULT_MAX_OUTPUT_TOKENS: Final = 16_384
DEFAULT_TIER: Final = "default"
SERVICE_TIERS: Final = frozenset({"auto", "default", "flex", "scale", "priority", "fast"})
_NANOUSD_PER_USD: Final = 10**9
_TOKENS_PER_PRICE: Final = 10**6
_MAX_PRICE_USD: Final = 10**6

# List prices in USD per million tokens. The gpt and o rows are the figures genai-prices 0.2.3 gives for 2026-10-14;
# a test compares them. The sim rows are made up: each is there for one rule of pricing.
DEFAULT_PRICES: Final[dict[str, Any]] = {
    "models": {
        "gpt-4o-mini": {
            "input": "0.15", "cached_input": "0.075", "output": "0.6", "aliases": ["gpt-4o-mini-2024-07-18"],
            "service_tiers": {"priority": {"input": "0.25", "cached_input": "0.125", "output": "1"}},
        },
        "gpt-4o": {
            "input": "2.5", "cached_input": "1.25", "output": "10",
            "aliases": ["gpt-4o-2024-08-06", "gpt-4o-2024-11-20"],
            "service_tiers": {"priority": {"input": "4.25", "cached_input": "2.125", "output": "17"}},
        },
        "gpt-4.1": {
            "input": "2", "cached_input": "0.5", "output": "8", "aliases": ["gpt-4.1-2025-04-14"],
            "service_tiers": {"priority": {"input": "3.5", "cached_input": "0.875", "output": "14"}},
        },
        "gpt-5-mini": {
            "input": "0.25", "cached_input": "0.025", "output": "2", "aliases": ["gpt-5-mini-2025-08-07"],
            "service_tiers": {
                "flex": {"input": "0.125", "cached_input": "0.0125", "output": "1"},
                "priority": {"input": "0.45", "cached_input": "0.045", "output": "3.6"},
            },
        },
        "o4-mini": {
            "input": "1.1", "cached_input": "0.275", "output": "4.4", "aliases": ["o4-mini-2025-04-16"],
            "service_tiers": {
                "flex": {"input": "0.55", "cached_input": "0.138", "output": "2.2"},
                "priority": {"input": "2", "cached_input": "0.5", "output": "8"},
            },
        },
        # Ordinary, with tiers on both sides of the default.
        "sim-small": {
            "input": "0.10", "cached_input": "0.05", "output": "0.40",
            "service_tiers": {
                "flex": {"input": "0.05", "cached_input": "0.025", "output": "0.20"},
                "priority": {"input": "0.20", "cached_input": "0.10", "output": "0.80"},
            },
        },
        "sim-large": {"input": "10", "cached_input": "1", "output": "40"},
        # An output token costs a dime and nothing else costs anything: `max_tokens=1` makes a call of exactly $0.10.
        "sim-dime": {"input": "0", "cached_input": "0", "output": "100000"},
        # Everything doubles above 200,000 input tokens.
        "sim-tiered": {
            "input": "1", "cached_input": "0.1", "cache_write": "1.25", "output": "4",
            "above": {"input_tokens": 200_000, "input": "2", "cached_input": "0.2", "cache_write": "2.5", "output": "8"},
        },
        # Writing the cache costs 1.25 times the input price.
        "sim-cache-write": {"input": "4", "cached_input": "0.4", "cache_write": "5", "output": "20"},
        # Prices that leave fractions of a nano-dollar on every line.
        "sim-fractional": {"input": "0.000123457", "cached_input": "0.000000001", "output": "0.000987653"},
        "sim-long-output": {"input": "0.1", "cached_input": "0.1", "output": "0.4", "max_output_tokens": 128_000},
    }
}  # fmt: skip


class InvalidPriceListError(ValueError):
    """The price list cannot be used; the message says where."""


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """Prices of one service tier and context tier, integer nano-USD per million tokens."""

    input: int
    cached_input: int
    cache_write: int
    output: int


class BilledTokens(msgspec.Struct, frozen=True, kw_only=True):
    """What one call is charged for, in OpenAI's overlapping counts.

    `prompt_tokens` includes the cached and the cache-writing ones, `completion_tokens` is summed over all choices and
    includes reasoning.
    """

    prompt_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0


class ModelPrices(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the price list. `rates` holds, for each service tier, (input tokens above which, rate) descending."""

    name: str
    max_output_tokens: int
    rates: dict[str, tuple[tuple[int, Rate], ...]]

    def invoice_nanousd(self, tier: str, tokens: BilledTokens) -> int:
        """What the vendor charges: four lines, each rounded half-even once, in integer nano-USD."""
        return sum(invoice_lines(self.rate(tier, tokens.prompt_tokens), tokens))

    def rate(self, tier: str, prompt_tokens: int) -> Rate:
        """The rate for the whole call: a context tier applies once the prompt is longer than its threshold."""
        for threshold, rate in self.rates[tier]:
            if prompt_tokens > threshold:
                return rate
        raise AssertionError("the last rate applies from -1 on")


def invoice_lines(rate: Rate, tokens: BilledTokens) -> tuple[int, int, int, int]:
    """The lines of a call at a rate, in nano-USD: input, cached input, cache writes, output."""
    plain = tokens.prompt_tokens - tokens.cached_tokens - tokens.cache_write_tokens
    assert plain >= 0
    return (
        _line(plain, rate.input),
        _line(tokens.cached_tokens, rate.cached_input),
        _line(tokens.cache_write_tokens, rate.cache_write),
        _line(tokens.completion_tokens, rate.output),
    )


class PriceList:
    """The models a vendor sells, by every name they can be called by."""

    __slots__ = ("document", "models")

    def __init__(self, document: dict[str, Any]) -> None:
        """Read a document shaped like `DEFAULT_PRICES`; raises InvalidPriceListError."""
        self.document = document
        self.models: dict[str, ModelPrices] = {}
        listed = document.get("models")
        if not isinstance(listed, dict):
            raise InvalidPriceListError("a price list is an object with a `models` object")
        for name, row in listed.items():
            for alias, prices in _read_model(name, row):
                if alias in self.models:
                    raise InvalidPriceListError(f"`{alias}` is listed twice")
                self.models[alias] = prices

    @classmethod
    def default(cls) -> "PriceList":
        return cls(DEFAULT_PRICES)

    @classmethod
    def from_file(cls, path: Path) -> "PriceList":
        """The default list with the file's rows over it, or the file alone where it says `"replace": true`."""
        try:
            changes = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise InvalidPriceListError(f"not a price list: {error}") from None
        return cls.default().with_changes(changes)

    def with_changes(self, changes: dict[str, Any]) -> "PriceList":
        """A new list with these rows added or put in the place of those of the same name."""
        rows = changes.get("models", {})
        if not isinstance(rows, dict):
            raise InvalidPriceListError("`models` is not an object")
        return PriceList({"models": rows if changes.get("replace") else {**self.document["models"], **rows}})


def _line(tokens: int, price_per_million: int) -> int:
    # Fraction's rounding is half to even by definition; the common exact case does not need it.
    whole, rest = divmod(tokens * price_per_million, _TOKENS_PER_PRICE)
    return whole if rest == 0 else round(Fraction(tokens * price_per_million, _TOKENS_PER_PRICE))


def _read_model(name: str, row: Any) -> list[tuple[str, ModelPrices]]:
    if not isinstance(row, dict):
        raise InvalidPriceListError(f"`{name}` is not an object")
    rates = {DEFAULT_TIER: _read_tier(name, row)}
    for tier, prices in row.get("service_tiers", {}).items():
        if tier not in SERVICE_TIERS - {"auto", DEFAULT_TIER}:
            raise InvalidPriceListError(f"`{name}`: `{tier}` is not a service tier")
        rates[tier] = _read_tier(f"{name} {tier}", prices)
    max_output = row.get("max_output_tokens", DEFAULT_MAX_OUTPUT_TOKENS)
    if type(max_output) is not int or not 0 < max_output <= 1_000_000:
        raise InvalidPriceListError(f"`{name}`: max_output_tokens is not between 1 and 1000000")
    return [
        (alias, ModelPrices(name=alias, max_output_tokens=max_output, rates=rates))
        for alias in (name, *row.get("aliases", []))
    ]


def _read_tier(where: str, row: dict[str, Any]) -> tuple[tuple[int, Rate], ...]:
    base = (-1, _read_rate(where, row))
    above = row.get("above")
    if above is None:
        return (base,)
    threshold = above.get("input_tokens")
    if type(threshold) is not int or threshold < 0:
        raise InvalidPriceListError(f"`{where}`: above.input_tokens is not a whole number")
    return ((threshold, _read_rate(f"{where} above {threshold}", above)), base)


def _read_rate(where: str, row: dict[str, Any]) -> Rate:
    price = {key: _read_price(where, key, row[key]) for key in Rate.__struct_fields__ if key in row}
    missing = {"input", "output"} - price.keys()
    if missing:
        raise InvalidPriceListError(f"`{where}`: no price for {', '.join(sorted(missing))}")
    return Rate(
        input=price["input"],
        cached_input=price.get("cached_input", price["input"]),
        cache_write=price.get("cache_write", price["input"]),
        output=price["output"],
    )


def _read_price(where: str, key: str, value: Any) -> int:
    try:
        usd = Decimal(value) if isinstance(value, str) and len(value) <= 30 else None
    except InvalidOperation:
        usd = None
    if usd is None or not usd.is_finite() or not 0 <= usd <= _MAX_PRICE_USD:
        raise InvalidPriceListError(f"`{where}`: {key} is not a decimal text of dollars per million tokens")
    exact = Fraction(usd) * _NANOUSD_PER_USD
    if exact.denominator != 1:
        raise InvalidPriceListError(f"`{where}`: {key} is finer than a nano-dollar")
    return int(exact)
