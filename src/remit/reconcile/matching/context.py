"""What rules may know besides the two sides of a series, and the prices they compare at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, get_args

from remit.kernel.money import divide_half_even
from remit.pricing.book import PriceBook
from remit.pricing.model import DEFAULT_TIER, CostKind, ModelPrices, Rates, Unpriced, canonical_tier
from remit.reconcile.matching.cells import ALL, CellKey, Quantity, Tolerance
from remit.reconcile.matching.claims import Rest, Spot
from remit.reconcile.matching.registry import Registry
from remit.reconcile.matching.series import Pair, Series, Shape, divide_half_even_of

KINDS: Final[frozenset[str]] = frozenset(get_args(CostKind))
_NOON: Final = time(12, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grantee:
    """What is known of the gateway's own use of a key: how it is called, and who spends there on which models."""

    key: CellKey
    grant_id: str
    words: frozenset[str]
    models: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One vendor's month: how its statement is shaped, its tolerance, who is registered, and the price book."""

    month: date
    registry: Registry
    prices: PriceBook | None = None
    tolerance: Tolerance = field(default_factory=Tolerance)
    shape: Shape
    grantees: Sequence[Grantee] = ()
    last_day: date | None = None  # the last day of the month that the statement has anything of

    def is_in_month(self, day: date) -> bool:
        return (day.year, day.month) == (self.month.year, self.month.month)

    def model_prices(self, key: CellKey, at: datetime) -> ModelPrices | None:
        """The prices of a key's model at an instant; None where there are none."""
        if self.prices is None or not key.model:
            return None
        found = self.prices.lookup(key.vendor, key.model, at)
        return None if isinstance(found, Unpriced) else found

    def rates(self, key: CellKey, day: date, tier: str | None = None, *, at: time = _NOON) -> Rates | None:
        """The rates of a tier without its bands, at an instant of a day (noon)."""
        found = self.model_prices(key, datetime.combine(day, at))
        if found is None:
            return None
        table = found.tiers.get(canonical_tier(tier or key.tier or DEFAULT_TIER))
        return None if table is None else table.base

    def price_of(self, key: CellKey, day: date, meter: str) -> int | None:
        """The price book's price of a meter, in nano-USD for a million units."""
        rates = self.rates(key, day)
        return None if rates is None else price_at(rates, meter)

    def is_noise(self, series: Series, rest: Rest) -> bool:
        """Whether all that is left of a series is within the vendor's tolerance, line by line."""
        millionths = self.tolerance.parts_per_million
        for (day, meter), units in rest.quantity.items():
            if max(units, -units) * 1_000_000 > series.days[day].ours.quantity.get(meter, 0) * millionths:
                return False
        return not rest.requests and all(self.within(series, spot, rest) for spot in rest.amount)

    def within(self, series: Series, spot: Spot, rest: Rest) -> bool:
        """Whether what is left of one day and meter is noise."""
        day, meter = spot
        pair = series.days[day]
        amount = max(abs(pair.ours.amount.get(meter, 0)), abs(pair.theirs.amount.get(meter, 0)))
        return abs(rest.amount[spot]) <= self.tolerance.of(amount, max(len(pair.theirs.cells), 1))

    def slack(self, pair: Pair, meters: int = 1) -> int:
        """How far sums of rounded lines can be from one product: half a nano-dollar for each request and line, and the tolerance."""
        lines = (pair.ours.requests + (pair.theirs.requests or pair.ours.requests)) * meters
        amounts = sum(map(abs, pair.theirs.amount.values()))
        return lines // 2 + 1 + self.tolerance.of(amounts, meters * max(len(pair.theirs.cells), 1))

    def cost_of(self, series: Series, day: date, meter: str, units: Quantity) -> int | None:
        """What units cost at our price: the frozen one, else that of other days, else the price book's."""
        ours = series.days[day].ours
        own, booked = ours.quantity.get(meter, 0), ours.prices.get(meter, set())
        if len(booked) == 1:
            return divide_half_even_of(next(iter(booked)), units, 1_000_000)
        if own and meter in ours.amount:
            return divide_half_even_of(ours.amount[meter], units, own)
        elsewhere = {price for pair in series.days.values() for price in pair.ours.prices.get(meter, ())}
        price = elsewhere.pop() if len(elsewhere) == 1 else self.price_of(series.key, day, meter)
        return None if price is None else divide_half_even_of(price, units, 1_000_000)

    def cost_of_counts(self, series: Series, rest: Rest, day: date, units: Mapping[str, Quantity]) -> dict[Spot, int]:
        """How much of what is left of a day's amounts these counts explain, at our prices.

        All of it where it fits within rounding, and where we have no price to say what would fit.
        """
        pair = series.days[day]
        costs = {meter: self.cost_of(series, day, meter, count) for meter, count in units.items()}
        if pair.is_total:
            left = rest.amount.get((day, ALL), 0)
            known = sum(cost for cost in costs.values() if cost is not None)
            fits = None in costs.values() or abs(left - known) <= self.slack(pair, len(units))
            return nonzero({(day, ALL): left if fits else known})
        found: dict[Spot, int] = {}
        for meter, cost in costs.items():
            left = rest.amount.get((day, meter), 0)
            found[day, meter] = left if cost is None or abs(left - cost) <= self.slack(pair) else cost
        return nonzero(found)

    def alternatives(self, key: CellKey, day: date) -> list[tuple[Rates, date]]:
        """Rates of other days around, nearest first, each once."""
        found: list[tuple[Rates, date]] = []
        own = self.rates(key, day)
        for distance in range(1, 46):
            for other in (day - timedelta(days=distance), day + timedelta(days=distance)):
                rates = self.rates(key, other)
                if rates is not None and rates != own and all(rates != known for known, _ in found):
                    found.append((rates, other))
        return found


def nonzero(amounts: Mapping[Spot, int]) -> dict[Spot, int]:
    """Those that are something."""
    return {spot: amount for spot, amount in amounts.items() if amount}


def price_at(rates: Rates, meter: str) -> int | None:
    """The price of a meter in some rates; None for what they have no kind for."""
    return rates.price(meter) if meter in KINDS else None  # type: ignore[arg-type]


def per_million(amount_nanousd: int, units: Quantity) -> int:
    """The unit price that an amount comes to."""
    return divide_half_even(amount_nanousd * 1_000_000 * units.denominator, units.numerator)
