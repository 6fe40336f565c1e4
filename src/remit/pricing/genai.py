"""The list prices of the `genai-prices` package as a catalogue.

The only file that knows that package; it is imported at the first lookup, because its data takes a fifth of a second
to load and a worker that serves overridden models only never needs it.

What is deliberately left out, each answered with its reason: entries matched only by prefix or substring (a future
model must not be priced by a guess), prices in units `Usage` does not count, prices of zero, and models that bill
searches no request asks for. See docs/decisions/0004-prices.md.
"""

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from remit.kernel.money import NANOUSD_PER_USD
from remit.pricing.limits import known_max_output_tokens
from remit.pricing.model import BATCH_TIER, BEGINNING, Band, ModelPrices, Rates, TierRates, Unpriced, canonical_tier

if TYPE_CHECKING:
    from genai_prices.types import MatchLogic, ModelInfo, ModelPrice, TieredPrices

# Prices of things `Usage` counts, and of tools that are refused on every surface and so never used.
_COUNTED = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "input_audio_mtok": "input_audio",
    "output_audio_mtok": "output_audio",
    "requests_kcount": "request",
}
_HARMLESS = {"web_searches_kcount", "storage_searches_kcount", "cache_write_1h_mtok", "cache_audio_read_mtok"}
# These bill a fee per search on every call, or images they make, which are neither in the usage nor in the catalogue's price.
_BILLS_MORE = re.compile(r"search|deep-research|online|image")
_ANCHORED = re.compile(r"\^.*\$")


class GenaiCatalogue:
    """Catalogue over the data that comes with the installed `genai-prices`; vendors are its provider ids."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, ModelInfo]] = {}
        self._patterns: dict[str, list[tuple[re.Pattern[str], ModelInfo]]] = {}
        self._source = ""

    def versions(self, vendor: str, model: str) -> tuple[ModelPrices, ...] | Unpriced:
        if not self._source:
            self._load()
        name = model.lower()
        info = self._names.get(vendor, {}).get(name) or self._by_pattern(vendor, name)
        if info is None:
            return Unpriced(f"`{model}` is not in the price book")
        if _BILLS_MORE.search(name):
            return Unpriced(f"`{model}` bills searches or images that no usage states; set an override to allow it")
        names = frozenset({name, *(n for n, owner in self._names[vendor].items() if owner is info)})
        return _convert(vendor, info, names, self._source, known_max_output_tokens(vendor, info.id, name))

    def names(self, vendor: str) -> frozenset[str]:
        if not self._source:
            self._load()
        return frozenset(self._names.get(vendor, ()))

    def _by_pattern(self, vendor: str, name: str) -> "ModelInfo | None":
        matches = (info for pattern, info in self._patterns.get(vendor, ()) if pattern.fullmatch(name))
        return next(matches, None)

    def _load(self) -> None:
        from importlib.metadata import version

        from genai_prices.data import providers

        for provider in providers:
            names = self._names.setdefault(provider.id, {})
            patterns = self._patterns.setdefault(provider.id, [])
            for info in provider.models:
                equal, anchored = _exact_clauses(info.match)
                # The catalogue tries its models in order, so the first owner of a name keeps it.
                for name in (*equal, *([info.id.lower()] if info.is_match(info.id) else [])):
                    names.setdefault(name, info)
                patterns += [(re.compile(pattern), info) for pattern in anchored]
        self._source = f"genai-prices {version('genai-prices')}"


def _exact_clauses(match: "MatchLogic") -> tuple[list[str], list[str]]:
    """The names a rule equals, and its patterns anchored at both ends (dated snapshots)."""
    from genai_prices.types import ClauseEquals, ClauseOr, ClauseRegex

    if isinstance(match, ClauseEquals):
        return [match.equals.lower()], []
    if isinstance(match, ClauseRegex):
        return [], [match.regex] if _ANCHORED.fullmatch(match.regex) else []
    if isinstance(match, ClauseOr):
        parts = [_exact_clauses(part) for part in match.or_]
        return [name for names, _ in parts for name in names], [p for _, patterns in parts for p in patterns]
    return [], []


def _convert(
    vendor: str, info: "ModelInfo", names: frozenset[str], source: str, max_output_tokens: int | None
) -> tuple[ModelPrices, ...] | Unpriced:
    """One ModelPrices per stretch of time in which nothing changes: start dates, then windows of the day."""
    starts = [BEGINNING, *sorted(_midnight(day) for day in _start_dates(info))]
    windows = _daily_windows(info)
    versions: list[ModelPrices] = []
    for index, start in enumerate(starts):
        until = starts[index + 1] if index + 1 < len(starts) else None
        for window in windows:
            instant = start + timedelta(seconds=window[0] if window else 0)
            tiers = _tiers(info, instant)
            if isinstance(tiers, Unpriced):
                return tiers
            versions.append(
                ModelPrices(
                    vendor=vendor,
                    model=info.id,
                    names=names,
                    tiers=tiers,
                    source=source,
                    effective_from=start,
                    effective_until=until,
                    daily_window=window,
                    context_tokens=info.context_window,
                    max_output_tokens=max_output_tokens,
                )
            )
    return tuple(versions)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def _constraints(info: "ModelInfo") -> list[object]:
    conditions = info.prices if isinstance(info.prices, list) else []
    return [item.constraint for item in (*conditions, *(info.price_variants or ())) if item.constraint is not None]


def _start_dates(info: "ModelInfo") -> set[date]:
    from genai_prices.types import StartDateConstraint

    return {item.start_date for item in _constraints(info) if isinstance(item, StartDateConstraint)}


def _daily_windows(info: "ModelInfo") -> list[tuple[int, int] | None]:
    """The UTC day cut at every time a constraint names; `[None]` where the time of day does not matter."""
    from genai_prices.types import TimeOfDateConstraint

    cuts: set[int] = set()
    for item in _constraints(info):
        if isinstance(item, TimeOfDateConstraint):
            cuts |= {_second_of_day(item.start_time), _second_of_day(item.end_time)}
    if not cuts:
        return [None]
    edges = sorted(cuts | {0})
    return list(zip(edges, [*edges[1:], 86_400], strict=True))


def _second_of_day(value: time) -> int:
    utc = datetime.combine(date(2000, 1, 1), value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
    return utc.hour * 3600 + utc.minute * 60 + utc.second


def _tiers(info: "ModelInfo", at: datetime) -> dict[str, TierRates] | Unpriced:
    """Rates by tier at an instant; a variant that is not yet in force makes no tier."""
    contexts: dict[str, dict[str, str]] = {"default": {}}
    for variant in info.price_variants or ():
        if variant.constraint is not None and not variant.constraint.active(at):
            continue
        if variant.when.keys() == {"service_tier"}:
            contexts.setdefault(canonical_tier(variant.when["service_tier"]), dict(variant.when))
        elif variant.when == {"processing": "batch"}:
            contexts.setdefault(BATCH_TIER, dict(variant.when))
    tiers: dict[str, TierRates] = {}
    for tier, context in contexts.items():
        rates = _tier_rates(info, info.get_prices(at, context))
        if isinstance(rates, Unpriced):
            return rates
        tiers[tier] = rates
    return tiers


def _tier_rates(info: "ModelInfo", price: "ModelPrice") -> TierRates | Unpriced:
    from genai_prices.types import TieredPrices

    stated: dict[str, Decimal | TieredPrices] = {k: v for k, v in price.__dict__.items() if v is not None}
    uncounted = sorted(stated.keys() - _COUNTED.keys() - _HARMLESS)
    if uncounted:
        return Unpriced(f"`{info.id}` is priced by {', '.join(uncounted)}, which no usage here counts")
    starts = sorted(
        {tier.start for value in stated.values() if isinstance(value, TieredPrices) for tier in value.tiers}
    )
    base = _rates(info, {key: _at(value, -1) for key, value in stated.items()})
    bands = [(start, _rates(info, {key: _at(value, start) for key, value in stated.items()})) for start in starts]
    for rates in (base, *(rates for _, rates in bands)):
        if isinstance(rates, Unpriced):
            return rates
    return TierRates(base, tuple(Band(start, rates) for start, rates in bands if isinstance(rates, Rates)))  # type: ignore[arg-type]


def _at(value: "Decimal | TieredPrices", start: int) -> Decimal:
    """The price once the input exceeds `start` (-1: the base)."""
    if isinstance(value, Decimal):
        return value
    return next((tier.price for tier in reversed(value.tiers) if tier.start <= start), value.base)


def _rates(info: "ModelInfo", stated: dict[str, Decimal]) -> Rates | Unpriced:
    prices = {_COUNTED[key]: _nanousd_per_million(key, value) for key, value in stated.items() if key in _COUNTED}
    for kind in ("input", "output"):
        if kind not in prices:
            return Unpriced(f"`{info.id}` has no {kind} price")
        if prices[kind] == 0:
            return Unpriced(f"the {kind} price of `{info.id}` is zero in the price list; only an override may say so")
    # A zero for a cache kind means "not charged apart", never "free": such tokens are charged as input.
    return Rates(**{kind: price for kind, price in prices.items() if price or kind == "request"})


def _nanousd_per_million(key: str, usd: Decimal) -> int:
    """Exact, except that the few prices finer than a nano-dollar (float noise upstream) are rounded up."""
    scaled = usd * NANOUSD_PER_USD * (1000 if key == "requests_kcount" else 1)
    return int(scaled.to_integral_value(rounding="ROUND_CEILING"))
