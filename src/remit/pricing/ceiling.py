"""The sound upper bound of what a request can cost, known before it is sent."""

from collections.abc import Iterable

import msgspec

from remit.kernel.money import UNITS_PER_PRICE, line_ceiling_nanousd
from remit.pricing.cost import MAX_NANOUSD, CostLine
from remit.pricing.input_bound import Unbounded
from remit.pricing.model import (
    BATCH_TIER,
    DEFAULT_TIER,
    CostKind,
    ModelPrices,
    Rates,
    TierTable,
    Unpriced,
    canonical_tier,
)

MAX_TOKENS = 1 << 53


class RequestBound(msgspec.Struct, frozen=True, kw_only=True):
    """What a request can use at most.

    `service_tier` is what is sent to the vendor: None and `auto` let the vendor choose, so every tier it sells
    synchronously is bounded; pinning the tier (`ClampOptions.service_tier_when_absent`) avoids paying for that.
    """

    input_tokens_max: int
    output_tokens_max: int  # per choice
    choices: int = 1
    service_tier: str | None = None
    input_audio: bool = False
    output_audio: bool = False

    def __post_init__(self) -> None:
        assert self.input_tokens_max >= 0 and self.output_tokens_max >= 0 and self.choices >= 1


class Ceiling(msgspec.Struct, frozen=True):
    """The upper bound in each dimension a limit can be set in."""

    nanousd: int
    tokens: int
    lines: tuple[CostLine, ...]
    requests: int = 1


def ceiling(prices: ModelPrices, bound: RequestBound) -> Ceiling | Unpriced | Unbounded:
    """The highest cost any usage within the bound can have, whichever tier, band or cache kind it ends up in.

    Unpriced where the requested tier, or a kind that is in play, has no price; Unbounded where the bound is larger than
    the books can hold.
    """
    candidates = _reachable_rates(prices, bound)
    if isinstance(candidates, Unpriced):
        return candidates
    inputs = [price for rates in candidates for price in _input_prices(rates, audio=bound.input_audio)]
    outputs = [price for rates in candidates for price in _output_prices(rates, audio=bound.output_audio)]
    input_line = _line("input", bound.input_tokens_max, inputs, kinds=4 if bound.input_audio else 3)
    output_tokens = bound.output_tokens_max * bound.choices
    output_line = _line("output", output_tokens, outputs, kinds=2 if bound.output_audio else 1)
    if input_line is None or output_line is None:
        return Unpriced(f"`{prices.model}` has no price for audio")
    lines = [input_line, output_line]
    request_price = max(rates.request for rates in candidates)
    if request_price:
        lines.append(CostLine("request", 1, request_price, line_ceiling_nanousd(1, request_price)))
    total = sum(line.amount_nanousd for line in lines)
    tokens = bound.input_tokens_max + output_tokens
    if total > MAX_NANOUSD or tokens > MAX_TOKENS:
        return Unbounded(f"the request may use {tokens:,} tokens, and what they may cost is more than can be held")
    return Ceiling(total, tokens, tuple(lines))


def servable_tiers(requested: str | None, table: TierTable) -> frozenset[str]:
    """The tiers of a table a vendor may serve when this one was requested.

    OpenAI serves the requested tier or falls back to `default` and says which in the response; without a request the
    project's setting decides, which the caller cannot see. No synchronous call is served at the price of a batch.
    """
    if requested is None or requested == "auto":
        return frozenset(table) - {BATCH_TIER}
    return frozenset({canonical_tier(requested), DEFAULT_TIER}) & frozenset(table) - {BATCH_TIER}


def _reachable_rates(prices: ModelPrices, bound: RequestBound) -> list[Rates] | Unpriced:
    requested = bound.service_tier
    if canonical_tier(requested or "") == BATCH_TIER:
        return Unpriced(f"service tier `{BATCH_TIER}` is not for calls that are answered at once")
    if requested not in {None, "auto"} and canonical_tier(requested or "") not in prices.tiers:
        return Unpriced(f"`{prices.model}` has no price for service tier `{requested}`")
    return [
        rates
        for table in (prices.tiers, *prices.also_possible)
        for tier in servable_tiers(requested, table)
        for rates in table[tier].reachable(bound.input_tokens_max)
    ]


def _input_prices(rates: Rates, *, audio: bool) -> Iterable[int | None]:
    # A missing cache price is the input price, which is in the list already.
    yield rates.input
    if rates.cache_read is not None:
        yield rates.cache_read
    if rates.cache_write is not None:
        yield rates.cache_write
    if audio:
        yield rates.input_audio


def _output_prices(rates: Rates, *, audio: bool) -> Iterable[int | None]:
    yield rates.output
    if audio:
        yield rates.output_audio


def _line(kind: CostKind, units: int, prices: list[int | None], *, kinds: int) -> CostLine | None:
    """All units at the highest price, rounded up; None where a price is missing.

    When settling, the units may fall into several lines, each rounded half-even: k lines can exceed their exact sum
    by k/2, so that much is added. Prices that are whole nano-USD per token, which is nearly every price there is,
    leave nothing to round.
    """
    known = [price for price in prices if price is not None]
    if len(known) != len(prices):
        return None
    highest = max(known)
    exact = all(price % UNITS_PER_PRICE == 0 for price in known)
    slack_nanousd = 0 if exact else min(kinds, units) // 2
    return CostLine(kind, units, highest, line_ceiling_nanousd(units, highest) + slack_nanousd)
