"""The vendors' own side: their price lists, and what they bill by their own arithmetic."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from remit.testing.vendor_sim.prices import BilledTokens, ModelPrices, PriceList, Rate, invoice_lines

# US dollars for a million tokens. Nothing of this is read by the ledger's side, which has a list of its own.
_MODELS: Final[dict[str, Any]] = {
    "gpt-4o-mini": {
        "input": "0.15", "cached_input": "0.075", "output": "0.6",
        "service_tiers": {"priority": {"input": "0.25", "cached_input": "0.125", "output": "1"}},
    },
    "gpt-4.1": {"input": "2", "cached_input": "0.5", "output": "8"},
    "ft:gpt-4o-mini:acme": {"input": "0.3", "cached_input": "0.15", "output": "1.2"},
    "sim-whisper": {"input": "0", "output": "100"},
    "sim-scale": {"input": "1", "cached_input": "0.5", "output": "4"},
    "sim-change": {"input": "1", "cached_input": "0.5", "output": "4"},
    "sim-change after": {"input": "0.7", "cached_input": "0.4", "output": "3.1"},
    "sim-night": {"input": "0.6", "cached_input": "0.31", "output": "2.3"},
    "sim-stale": {"input": "1", "cached_input": "0.5", "output": "4"},
    "sim-stale after": {"input": "1", "cached_input": "0.5", "output": "5"},
    "sim-zero": {"input": "0.4", "cached_input": "0.1", "output": "1.6"},
    "sim-opus": {
        "input": "4", "cached_input": "0.4", "cache_write": "5", "output": "20",
        "service_tiers": {"priority": {"input": "6.4", "cached_input": "0.64", "cache_write": "8", "output": "32"}},
    },
    "sim-opus 1h": {"input": "4", "cached_input": "0.4", "cache_write": "8", "output": "20"},
    "sim-long": {
        "input": "3", "cached_input": "0.3", "cache_write": "3.75", "output": "15",
        "above": {"input_tokens": 200_000, "input": "6", "cached_input": "0.6", "cache_write": "7.5", "output": "22.5"},
    },
    "or-small": {"input": "0.1", "cached_input": "0.05", "output": "0.4"},
    "gem-flash": {"input": "0.3", "cached_input": "0.03", "output": "2.5"},
    "bed-pro": {"input": "0.8", "cached_input": "0.2", "output": "3.2"},
}  # fmt: skip
PRICES: Final = PriceList({"models": _MODELS})
METERS: Final = ("input", "cache_read", "cache_write", "output")


@dataclass(frozen=True, slots=True)
class Shape:
    """So many requests that used the same: tokens neither read from nor written to a cache, read, written, and output."""

    plain: int
    cached: int
    written: int
    output: int
    count: int

    def tokens(self) -> BilledTokens:
        """As the vendor counts them: input is everything the model read."""
        return BilledTokens(
            prompt_tokens=self.plain + self.cached + self.written,
            cached_tokens=self.cached,
            cache_write_tokens=self.written,
            completion_tokens=self.output,
        )

    def counts(self) -> tuple[int, int, int, int]:
        return self.plain, self.cached, self.written, self.output


@dataclass(slots=True)
class Billed:
    """What a vendor states for a day: requests, and units and nano-USD by meter."""

    requests: int
    quantity: dict[str, int]
    amount: dict[str, int]
    listed: dict[str, int]

    def add(self, other: "Billed", sign: int = 1) -> None:
        """Adds (or takes away) what another states."""
        self.requests += sign * other.requests
        for mine, more in ((self.quantity, other.quantity), (self.amount, other.amount)):
            for meter, number in more.items():
                mine[meter] = mine.get(meter, 0) + sign * number

    @property
    def total(self) -> int:
        return sum(self.amount.values())


def model_prices(model: str) -> ModelPrices:
    """A row of the price list."""
    return PRICES.models[model]


def scaled(rate: Rate, numerator: int, denominator: int) -> Rate:
    """A rate times a fraction; it has to come out even."""
    prices = {name: getattr(rate, name) * numerator for name in Rate.__struct_fields__}
    assert not any(price % denominator for price in prices.values())
    return Rate(**{name: price // denominator for name, price in prices.items()})


def bill(
    shapes: Iterable[Shape],
    model: str,
    tier: str = "default",
    *,
    times: tuple[int, int] = (1, 1),
    meters: Sequence[str] = METERS,
) -> Billed:
    """What the vendor states for requests: each line of each request rounded by itself."""
    row = PRICES.models[model]
    found = Billed(0, {}, {}, {})
    rates: dict[Rate, Rate] = {}
    for shape in shapes:
        found.requests += shape.count
        tokens = shape.tokens()
        rate = row.rate(tier, tokens.prompt_tokens)
        if times != (1, 1):
            if rate not in rates:
                rates[rate] = scaled(rate, *times)
            rate = rates[rate]
        for meter, units, amount in zip(meters, shape.counts(), invoice_lines(rate, tokens), strict=True):
            if units:
                found.quantity[meter] = found.quantity.get(meter, 0) + units * shape.count
                found.amount[meter] = found.amount.get(meter, 0) + amount * shape.count
    return found
