"""The ledger's side: Remit's own price list and Remit's own pricing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from remit.kernel.usage import Usage
from remit.pricing.book import LayeredPriceBook, PriceBook, StaticCatalogue
from remit.pricing.ceiling import Ceiling, RequestBound, ceiling
from remit.pricing.cost import price_usage
from remit.pricing.model import ModelPrices, Unpriced
from remit.pricing.overrides import parse_overrides
from remit.reconcile.matching.cells import CellKey, LedgerCell, Part, PartName, PricedLine
from remit.testing.months.vendors import Shape

_TABLE: Final = """
openai gpt-4o-mini 0.15 0.075 - 0.60
openai gpt-4.1 2.00 0.50 - 8.00
openai ft:gpt-4o-mini:acme 0.15 0.075 - 0.60
openai sim-whisper 0 - - 100
openai sim-scale 0.001 0.0005 - 0.004
openai sim-stale 1.00 0.50 - 4.00
openai sim-zero 0 0 - 0
anthropic sim-opus 4.00 0.40 5.00 20.00
anthropic sim-long 3.00 0.30 3.75 15.00
openrouter or-small 0.10 0.05 - 0.40
google gem-flash 0.30 0.03 - 2.50
bedrock bed-pro 0.80 0.20 - 3.20
"""
_TIERS: Final[Mapping[str, Any]] = {
    "gpt-4o-mini": {"priority": {"input": "0.25", "cache_read": "0.125", "output": "1.00"}},
    "sim-opus": {"priority": {"input": "6.40", "cache_read": "0.64", "cache_write": "8.00", "output": "32.00"}},
}
_LONG: Final = [
    {"above_input_tokens": 200_000, "input": "6.00", "cache_read": "0.60", "cache_write": "7.50", "output": "22.50"}
]
CHANGED_HERE: Final = 19
"""The day from which on the ledger knows the new price of `sim-change`."""
_NIGHT: Final = (20 * 3600, 6 * 3600)


def _rows() -> list[dict[str, Any]]:
    rows = []
    for line in _TABLE.split("\n"):
        if line:
            vendor, model, *prices = line.split()
            named = dict(zip(("input", "cache_read", "cache_write", "output"), prices, strict=True))
            row: dict[str, Any] = {name: price for name, price in named.items() if price != "-"}
            rows.append({"vendor": vendor, "model": model, **row, "service_tiers": _TIERS.get(model, {})})
    return rows


def price_book(month: date) -> PriceBook:
    """What Remit takes for the prices of a month."""
    rows = [row | ({"tiers": _LONG} if row["model"] == "sim-long" else {}) for row in _rows()]
    changed = datetime(month.year, month.month, CHANGED_HERE, tzinfo=UTC)
    rows += [
        {"vendor": "openai", "model": "sim-change", "input": "1.00", "cache_read": "0.50", "output": "4.00"},
        {"vendor": "openai", "model": "sim-change", "input": "0.70", "cache_read": "0.40", "output": "3.10", "from": changed},
        {"vendor": "openai", "model": "sim-night", "input": "1.20", "cache_read": "0.60", "output": "4.50"},
    ]  # fmt: skip
    overrides = parse_overrides(rows)
    (dear,) = [one for one in overrides if one.model == "sim-night"]
    (cheap,) = parse_overrides(
        [{"vendor": "openai", "model": "sim-night", "input": "0.60", "cache_read": "0.31", "output": "2.30"}]
    )
    day_and_night = [
        replace(dear, daily_window=(_NIGHT[1], _NIGHT[0])),
        replace(cheap, daily_window=_NIGHT),
    ]
    return LayeredPriceBook([one for one in overrides if one.model != "sim-night"], StaticCatalogue(day_and_night))


def book_without_bands() -> PriceBook:
    """A book that misses that long requests cost more."""
    return LayeredPriceBook(parse_overrides(_rows()))


@dataclass(slots=True)
class Booked:
    """What the ledger has for a day."""

    requests: int = 0
    lines: dict[tuple[str, int | None], list[int]] = field(default_factory=dict)
    parts: dict[PartName, Part] = field(default_factory=dict)
    sources: set[str] = field(default_factory=set)

    @property
    def total(self) -> int:
        return sum(amount for _, amount in self.lines.values())

    def quantity(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for (meter, _), (units, _amount) in self.lines.items():
            found[meter] = found.get(meter, 0) + units
        return found

    def add(self, other: "Booked") -> None:
        """Adds what another has, without its parts."""
        self.requests += other.requests
        self.sources |= other.sources
        for at, (units, amount) in other.lines.items():
            line = self.lines.setdefault(at, [0, 0])
            line[0] += units
            line[1] += amount

    def part(self) -> Part:
        """All of it, as a part of a cell."""
        return Part(requests=self.requests, quantity=dict(self.quantity()), amount_nanousd=self.total)

    def cell(self, day: date, key: CellKey, tier_requested: str | None, grants: tuple[str, str]) -> LedgerCell:
        """A cell of the ledger; of what was spent the first grant has two thirds."""
        second = self.total // 3
        return LedgerCell(
            day=day,
            key=key,
            tier_requested=tier_requested,
            requests=self.requests,
            lines=tuple(
                PricedLine(meter, price, units, amount) for (meter, price), (units, amount) in self.lines.items()
            ),
            amount_nanousd=self.total,
            price_sources=frozenset(self.sources),
            parts=dict(self.parts),
            grants={grants[0]: self.total - second, grants[1]: second},
        )


class Books:
    """Prices requests as the gateway does: by the book, at the tier that was served."""

    def __init__(self, book: PriceBook) -> None:
        self.book = book
        self._found: dict[tuple[str, str, date], ModelPrices] = {}

    def _prices(self, vendor: str, model: str, day: date) -> ModelPrices:
        at = (vendor, model, day)
        if at not in self._found:
            prices = self.book.lookup(
                vendor, model, datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=12)
            )
            assert not isinstance(prices, Unpriced), prices.reason
            self._found[at] = prices
        return self._found[at]

    def book_bound(self, count: int, day: date, key: CellKey, *, input_tokens: int, output_tokens: int) -> Booked:
        """What calls are booked at whose cost is not known: their ceiling, which has no price of its own."""
        bound = RequestBound(input_tokens_max=input_tokens, output_tokens_max=output_tokens, service_tier=key.tier)
        worst = ceiling(self._prices(key.vendor, key.model or "", day), bound)
        assert isinstance(worst, Ceiling), worst
        lines = {(one.kind, None): [one.units * count, one.amount_nanousd * count] for one in worst.lines}
        return Booked(requests=count, lines=lines)  # type: ignore[arg-type]

    def book_shapes(
        self, shapes: Iterable[Shape], day: date, key: CellKey, *, renamed: Mapping[str, str] | None = None
    ) -> Booked:
        """What a day's requests are booked at."""
        found = Booked()
        prices = self._prices(key.vendor, key.model or "", day)
        for shape in shapes:
            found.requests += shape.count
            plain, cached, written, output = shape.counts()
            usage = Usage(
                input_tokens=plain, cache_read_tokens=cached, cache_write_tokens=written, output_tokens=output
            )
            priced = price_usage(prices, usage, key.tier)
            assert not isinstance(priced, Unpriced), priced.reason
            found.sources.add(priced.source)
            for one in priced.lines:
                meter = (renamed or {}).get(one.kind, one.kind)
                line = found.lines.setdefault((meter, one.price_nanousd_per_million), [0, 0])
                line[0] += one.units * shape.count
                line[1] += one.amount_nanousd * shape.count
        return found
