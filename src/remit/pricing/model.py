"""Prices of one model over one stretch of time, as frozen values.

All prices are integer nano-USD per million units (`remit.kernel.money`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

CostKind = Literal["input", "cache_read", "cache_write", "input_audio", "output", "output_audio", "request"]

DEFAULT_TIER = "default"
BATCH_TIER = "batch"
"""Priced in the tables, but only a vendor's batch interface serves it, never a synchronous call."""

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""`effective_from` of a price whose start nobody states."""

# Spellings vendors use for the same tier: OpenAI's `fast` is answered as `priority`; Anthropic says `standard`,
# Groq `on_demand` for what OpenAI calls `default`.
_TIER_SPELLINGS = {"fast": "priority", "standard": DEFAULT_TIER, "on_demand": DEFAULT_TIER}


def canonical_tier(name: str) -> str:
    """The one name of a service tier."""
    return _TIER_SPELLINGS.get(name, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Prices of one band of one tier.

    A missing cache price means the input price: vendors that publish no cache price charge cached tokens as input.
    A missing audio price means that the kind has no price here, and using it is unpriced.
    """

    input: int
    output: int
    cache_read: int | None = None
    cache_write: int | None = None
    input_audio: int | None = None
    output_audio: int | None = None
    request: int = 0  # fee per million requests, charged once per answered request

    def __post_init__(self) -> None:
        for price in (self.input, self.output, self.cache_read, self.cache_write, self.input_audio, self.output_audio):
            assert price is None or price >= 0
        assert self.request >= 0

    def price(self, kind: CostKind) -> int | None:
        """Nano-USD per million units of a kind; None where the kind has no price."""
        if kind == "cache_read":
            return self.input if self.cache_read is None else self.cache_read
        if kind == "cache_write":
            return self.input if self.cache_write is None else self.cache_write
        price: int | None = getattr(self, kind)
        return price


@dataclass(frozen=True, slots=True)
class Band:
    """The rates of a whole request whose total input exceeds `above_input_tokens`.

    Long-context prices are a cliff: one token over the threshold reprices every token, output included
    (genai-prices, `TieredPrices`).
    """

    above_input_tokens: int
    rates: Rates


@dataclass(frozen=True, slots=True)
class TierRates:
    """The rates of one service tier: the base, and the bands above it in ascending order."""

    base: Rates
    bands: tuple[Band, ...] = ()

    def __post_init__(self) -> None:
        starts = [band.above_input_tokens for band in self.bands]
        assert starts == sorted(set(starts)) and all(start >= 0 for start in starts), starts

    def rates_for(self, total_input_tokens: int) -> Rates:
        """The rates charged for a request with this much input."""
        for band in reversed(self.bands):
            if total_input_tokens > band.above_input_tokens:
                return band.rates
        return self.base

    def reachable(self, max_input_tokens: int) -> tuple[Rates, ...]:
        """Every rates a request of at most this much input can be charged at."""
        return (self.base, *(band.rates for band in self.bands if max_input_tokens > band.above_input_tokens))


TierTable = Mapping[str, TierRates]
"""Service tier, by its canonical name, to its rates. Always holds `default`; never mutated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrices:
    """What one model costs from `effective_from` until `effective_until` (half-open; None is open-ended).

    `names` are all the lower-case ids the vendor uses for it. A price with a `daily_window` holds only between those
    seconds of the UTC day (half-open, may wrap over midnight). `also_possible` are other tables that may come into
    force before a request that starts now ends; ceilings cover them, settling ignores them.
    """

    vendor: str
    model: str
    names: frozenset[str]
    tiers: TierTable
    source: str  # where the numbers come from, with its version: `genai-prices 0.2.3`, `override:5f0c9a1b2c3d`
    effective_from: datetime = BEGINNING
    effective_until: datetime | None = None
    daily_window: tuple[int, int] | None = None
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    max_image_tokens: int | None = None
    also_possible: tuple[TierTable, ...] = field(default=())

    def __post_init__(self) -> None:
        assert DEFAULT_TIER in self.tiers
        assert self.names and all(name == name.lower() for name in self.names)
        assert self.effective_from.tzinfo is not None
        assert self.effective_until is None or self.effective_until > self.effective_from

    def in_force(self, at: datetime) -> bool:
        """Whether these are the prices of a request sent at this instant."""
        if at < self.effective_from or (self.effective_until is not None and at >= self.effective_until):
            return False
        if self.daily_window is None:
            return True
        utc = at.astimezone(UTC)
        second = utc.hour * 3600 + utc.minute * 60 + utc.second
        start, end = self.daily_window
        return start <= second < end if start <= end else second >= start or second < end


@dataclass(frozen=True, slots=True)
class Unpriced:
    """No price is known, so nothing may be sent or settled at one: unknown is never zero.

    `reason` is a lower-case clause such as "`gpt-9` is not in the price book".
    """

    reason: str
