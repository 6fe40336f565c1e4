"""How rules put a claim together."""

from collections.abc import Callable, Iterable, Mapping
from datetime import date

from remit.reconcile.matching.cause import Cause
from remit.reconcile.matching.cells import CellKey, Quantity
from remit.reconcile.matching.claims import Claim, Confidence, PriceError, Rest, Spot
from remit.reconcile.matching.context import Context
from remit.reconcile.matching.series import Series

Claims = Iterable[Claim]
Evidence = Mapping[str, str | int]


def all_of(
    cause: Cause,
    rest: Rest,
    days: Iterable[date],
    evidence: Evidence,
    *,
    confidence: Confidence = "exact",
    key: CellKey | None = None,
    price_errors: tuple[PriceError, ...] = (),
) -> Claim:
    """Everything that is left of these days."""
    wanted = set(days)
    return Claim(
        cause=cause,
        amount={spot: amount for spot, amount in rest.amount.items() if spot[0] in wanted},
        quantity={spot: units for spot, units in rest.quantity.items() if spot[0] in wanted},
        requests={day: count for day, count in rest.requests.items() if day in wanted},
        evidence=evidence,
        confidence=confidence,
        key=key,
        price_errors=price_errors,
    )


def counts_of(
    cause: Cause,
    series: Series,
    rest: Rest,
    about: Context,
    *,
    days: Iterable[date],
    evidence: Evidence,
    confidence: Confidence = "exact",
    takes_all: Callable[[date], bool] | None = None,
) -> Claim:
    """All that is left of these days' counts, and of their amounts what the counts cost at our prices.

    Of the days for which `takes_all` says so, all that is left of the amounts.
    """
    amount: dict[Spot, int] = {}
    quantity: dict[Spot, Quantity] = {}
    requests: dict[date, int] = {}
    for day in days:
        units = rest.units(day)
        whole = takes_all is not None and takes_all(day)
        left = {spot: left for spot, left in rest.amount.items() if spot[0] == day}
        amount |= left if whole else about.cost_of_counts(series, rest, day, units)
        quantity |= {(day, meter): count for meter, count in units.items()}
        if day in rest.requests:
            requests[day] = rest.requests[day]
    return Claim(
        cause=cause, amount=amount, quantity=quantity, requests=requests, evidence=evidence, confidence=confidence
    )


def told(units: Mapping[str, Quantity]) -> str:
    """Counts by meter as a text, in order."""
    return " ".join(f"{meter}={count}" for meter, count in sorted(units.items()))


def summed(days: Iterable[Mapping[str, Quantity]]) -> dict[str, Quantity]:
    """Their sum, meter by meter."""
    total: dict[str, Quantity] = {}
    for units in days:
        for meter, count in units.items():
            total[meter] = total.get(meter, 0) + count
    return total


def lacks(series: Series, rest: Rest, about: Context, day: date, name: str) -> bool:
    """Whether the vendor has fewer requests and units on a day, by exactly one part of ours."""
    part = series.days[day].ours.parts.get(name)
    if part is None or not part.requests:
        return False
    lacking = {meter: -units for meter, units in rest.units(day).items()}
    known = {meter: units for meter, units in part.quantity.items() if units}
    requests = rest.requests.get(day, 0)
    return lacking == known and (not about.shape.states_requests or requests == -part.requests)
