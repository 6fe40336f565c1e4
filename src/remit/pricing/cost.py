"""From usage to cost: each token priced once, in one kind, at the tier that was served."""

from dataclasses import dataclass

import msgspec

from remit.kernel.money import line_cost_nanousd
from remit.kernel.usage import Usage
from remit.pricing.model import DEFAULT_TIER, CostKind, ModelPrices, Unpriced, canonical_tier

MAX_NANOUSD = 1 << 53
"""Nine million dollars for one request: a number beyond that is a mistake or an attack, and sums of many such numbers
would not fit the 64 bits of the books."""


@dataclass(frozen=True, slots=True)
class CostLine:
    """`units` of one kind at one price; the amount is rounded half-even once when settling, up when holding."""

    kind: CostKind
    units: int
    price_nanousd_per_million: int
    amount_nanousd: int


class Priced(msgspec.Struct, frozen=True):
    """A cost with its lines; `tier` is the service tier it was priced at."""

    lines: tuple[CostLine, ...]
    total_nanousd: int
    tier: str
    source: str


def price_usage(
    prices: ModelPrices, usage: Usage, served_tier: str | None, *, requested_tier: str | None = None
) -> Priced | Unpriced:
    """The cost of a usage at the tier the vendor says it served.

    Where the vendor states no tier, it may have served the requested one or `default`: the dearer counts, and `default`
    where none (or `auto`) was requested. A tier or a used kind without a price is Unpriced, and so is a cost above
    `MAX_NANOUSD`. Kinds without units make no line.
    """
    if served_tier is None and requested_tier not in {None, "auto"}:
        requested = _price_at(prices, usage, canonical_tier(requested_tier or ""))
        default = _price_at(prices, usage, DEFAULT_TIER)
        if isinstance(requested, Unpriced) or isinstance(default, Unpriced):
            return requested if isinstance(requested, Unpriced) else default
        return max(default, requested, key=lambda priced: priced.total_nanousd)
    return _price_at(prices, usage, canonical_tier(served_tier or DEFAULT_TIER))


def _price_at(prices: ModelPrices, usage: Usage, tier: str) -> Priced | Unpriced:
    table = prices.tiers.get(tier)
    if table is None:
        return Unpriced(f"`{prices.model}` has no price for service tier `{tier}`")
    rates = table.rates_for(usage.total_input_tokens)
    lines: list[CostLine] = []
    total = 0
    for kind, units in _units(usage):
        if units == 0:
            continue
        price = rates.price(kind)
        if price is None:
            return Unpriced(f"`{prices.model}` has no price for {kind} tokens")
        amount = line_cost_nanousd(units, price)
        lines.append(CostLine(kind, units, price, amount))
        total += amount
    if rates.request:
        amount = line_cost_nanousd(1, rates.request)
        lines.append(CostLine("request", 1, rates.request, amount))
        total += amount
    if total > MAX_NANOUSD:
        return Unpriced(f"the cost of the stated usage of `{prices.model}` is too large to be booked")
    return Priced(tuple(lines), total, tier, prices.source)


def _units(usage: Usage) -> tuple[tuple[CostKind, int], ...]:
    return (
        ("input", usage.input_tokens),
        ("cache_read", usage.cache_read_tokens),
        ("cache_write", usage.cache_write_tokens),
        ("input_audio", usage.input_audio_tokens),
        ("output", usage.output_tokens),
        ("output_audio", usage.output_audio_tokens),
    )
