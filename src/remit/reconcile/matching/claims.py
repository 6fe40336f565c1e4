"""What rules say: how much of a difference they explain, and what is left for the next one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from remit.reconcile.matching.cause import Cause
from remit.reconcile.matching.cells import CellKey, Quantity
from remit.reconcile.matching.series import Series

Confidence = Literal["exact", "likely"]
Spot = tuple[date, str]
"""A day and a meter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceError:
    """A price of the price book that is not what the vendor charges, in nano-USD for a million units, and since when."""

    vendor: str
    model: str | None
    meter: str
    ours_nanousd_per_million: int | None
    theirs_nanousd_per_million: int
    since: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """How much of a series' difference a rule explains, by day and meter. It is taken out of what is left."""

    cause: Cause
    amount: Mapping[Spot, int]
    quantity: Mapping[Spot, Quantity] = field(default_factory=dict)
    requests: Mapping[date, int] = field(default_factory=dict)
    evidence: Mapping[str, str | int] = field(default_factory=dict)
    confidence: Confidence = "exact"
    key: CellKey | None = None  # whose finding it is, where it is not the series'
    price_errors: tuple[PriceError, ...] = ()

    def days(self) -> set[date]:
        """Every day it says something about."""
        return {day for day, _ in (*self.amount, *self.quantity)} | set(self.requests)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A typed difference: `amount_nanousd` is how much more the vendor charges than the ledger has because of it.

    `evidence` holds the numbers it was decided on. `proposal` says in a word what to do: the booking of its cause, unless the
    finding itself is worth less than a booking. The sum over all findings and the ledger is the bill.
    """

    cause: Cause
    key: CellKey
    days: tuple[date, ...]
    amount_nanousd: int
    quantity: Mapping[str, Quantity]
    requests: int
    evidence: Mapping[str, str | int]
    confidence: Confidence
    proposal: Literal["adjustment", "explained", "look"]
    by_day_nanousd: Mapping[date, int]
    price_errors: tuple[PriceError, ...] = ()


class Rest:
    """What is left to explain of one series: the vendor's side less ours, without what agrees; counts of stated meters only."""

    __slots__ = ("amount", "quantity", "requests")

    def __init__(self, series: Series, stated: frozenset[str]) -> None:
        self.amount: dict[Spot, int] = {}
        self.quantity: dict[Spot, Quantity] = {}
        self.requests: dict[date, int] = {}
        for day, pair in series.days.items():
            ours, theirs = pair.ours, pair.theirs
            for meter in ours.amount.keys() | theirs.amount.keys():
                if amount := theirs.amount.get(meter, 0) - ours.amount.get(meter, 0):
                    self.amount[day, meter] = amount
            # A meter that the vendor never states is not known to be nothing.
            for meter in (ours.quantity.keys() | theirs.quantity.keys()) & stated:
                if units := theirs.quantity.get(meter, 0) - ours.quantity.get(meter, 0):
                    self.quantity[day, meter] = units
            if theirs.requests is not None and theirs.requests != ours.requests:
                self.requests[day] = theirs.requests - ours.requests

    def __bool__(self) -> bool:
        return bool(self.amount or self.quantity or self.requests)

    @property
    def total_nanousd(self) -> int:
        return sum(self.amount.values())

    def days(self) -> list[date]:
        """Days with anything left, in order."""
        return sorted({day for day, _ in (*self.amount, *self.quantity)} | set(self.requests))

    def units(self, day: date) -> dict[str, Quantity]:
        """What is left of a day's quantities, by meter."""
        return {meter: units for (when, meter), units in self.quantity.items() if when == day}

    def amounts(self, day: date) -> dict[str, int]:
        return {meter: amount for (when, meter), amount in self.amount.items() if when == day}

    def forget_counts(self, day: date) -> None:
        """Leaves out a day's quantities: that they differ says nothing."""
        self.quantity = {spot: units for spot, units in self.quantity.items() if spot[0] != day}

    def take(self, claim: Claim) -> None:
        """Leaves what the claim does not explain."""
        for spot, amount in claim.amount.items():
            _lower(self.amount, spot, amount)
        for spot, units in claim.quantity.items():
            _lower(self.quantity, spot, units)
        for day, count in claim.requests.items():
            _lower(self.requests, day, count)


def _lower(left: dict[Any, Any], at: object, by: Quantity) -> None:
    value = left.get(at, 0) - by
    if value:
        left[at] = value
    else:
        left.pop(at, None)
