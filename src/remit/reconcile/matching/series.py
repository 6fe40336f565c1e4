"""Both sides of one key, day by day, at the finest key that both of them state."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from remit.kernel.money import divide_half_even
from remit.reconcile.matching.cells import (
    ALL,
    KEY_FIELDS,
    PARENTS,
    TOKEN_METERS,
    CellKey,
    LedgerCell,
    Part,
    Quantity,
    VendorCell,
)
from remit.reconcile.matching.registry import Registry

UNLISTED: Final = "unlisted"
"""The meter of what an entry was booked at beyond its frozen price lines."""
_NAMED_BY_EACH: Final = frozenset({"account", "region"})
"""Fields that each side may have names of its own for: where no name is the same, they say nothing about each other."""
PriceOf = Callable[[CellKey, date, str], int | None]
"""Nano-USD for a million units of a meter, for a key on a day; None where it is not known."""


@dataclass(slots=True)
class Ours:
    """The ledger's side of a day."""

    requests: int = 0
    quantity: dict[str, Quantity] = field(default_factory=dict)
    amount: dict[str, int] = field(default_factory=dict)
    prices: dict[str, set[int]] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    cells: list[LedgerCell] = field(default_factory=list)


@dataclass(slots=True)
class Theirs:
    """The vendor's side of a day. `requests` is None where it states none."""

    requests: int | None = None
    quantity: dict[str, Quantity] = field(default_factory=dict)
    amount: dict[str, int] = field(default_factory=dict)
    listed: dict[str, int] = field(default_factory=dict)
    cells: list[VendorCell] = field(default_factory=list)


@dataclass(slots=True)
class Pair:
    """One day of a series."""

    ours: Ours = field(default_factory=Ours)
    theirs: Theirs = field(default_factory=Theirs)

    @property
    def is_total(self) -> bool:
        """Whether amounts of tokens are not divided by meter."""
        return ALL in self.ours.amount or ALL in self.theirs.amount

    def at(self, meter: str) -> str:
        """Where the amount of a meter stands."""
        return ALL if self.is_total and meter in TOKEN_METERS else meter

    def make_total(self) -> None:
        """Puts amounts of tokens together, on both sides, where one does not divide them."""
        for amounts in (self.ours.amount, self.theirs.amount, self.theirs.listed):
            together = [meter for meter in amounts if meter in TOKEN_METERS or meter == UNLISTED]
            if together:
                amounts[ALL] = amounts.get(ALL, 0) + sum(amounts.pop(meter) for meter in together)


@dataclass(slots=True)
class Series:
    """All days of one key. `is_foreign`: the vendor states a key that is not registered."""

    key: CellKey
    is_foreign: bool = False
    days: dict[date, Pair] = field(default_factory=dict)

    def ours_has(self) -> bool:
        """Whether the ledger has anything of it."""
        return any(pair.ours.cells for pair in self.days.values())

    def theirs_has(self) -> bool:
        return any(pair.theirs.cells for pair in self.days.values())


@dataclass(frozen=True, slots=True)
class Shape:
    """What a vendor's statement can be compared at."""

    shared: frozenset[str]  # fields of the key that both sides state
    meters: frozenset[str]  # what it states quantities of
    states_requests: bool
    states_amounts: bool
    is_total: bool  # its amounts are not divided by meter

    @property
    def states_tokens(self) -> bool:
        return bool(self.meters & TOKEN_METERS)

    def meter(self, name: str) -> str:
        """Where the quantity of one of our meters stands in its statement."""
        if not self.states_tokens:
            return name
        while name in TOKEN_METERS and name not in self.meters and name in PARENTS:
            name = PARENTS[name]
        return name

    def amount_meter(self, name: str) -> str:
        """Where the amount stands."""
        return ALL if self.is_total and (name in TOKEN_METERS or name == UNLISTED) else name


def shape_of(ledger: Sequence[LedgerCell], vendor: Sequence[VendorCell]) -> Shape:
    """What the cells of one vendor have in common."""
    of_models = [cell for cell in vendor if _is_of_models(cell)]
    shared = frozenset(
        name
        for name in KEY_FIELDS
        if all(getattr(cell.key, name) is not None for cell in of_models)
        and all(getattr(cell.key, name) is not None for cell in ledger)
        and not (name in _NAMED_BY_EACH and _have_nothing_in_common(name, ledger, of_models))
    )
    return Shape(
        shared=shared,
        meters=frozenset(meter for cell in vendor for meter in cell.quantity),
        states_requests=any(cell.requests is not None for cell in of_models),
        states_amounts=not of_models or any(cell.amount_nanousd for cell in of_models),
        is_total=any(ALL in cell.amount_nanousd for cell in of_models),
    )


def _have_nothing_in_common(name: str, ledger: Sequence[LedgerCell], vendor: Sequence[VendorCell]) -> bool:
    ours, theirs = {getattr(cell.key, name) for cell in ledger}, {getattr(cell.key, name) for cell in vendor}
    return bool(ours and theirs) and not ours & theirs


def pair_cells(
    ledger: Sequence[LedgerCell], vendor: Sequence[VendorCell], registry: Registry, price_of: PriceOf
) -> tuple[list[Series], Shape]:
    """The series of one vendor's cells of usage; every cell is in exactly one of them."""
    shape = shape_of(ledger, vendor)
    found: dict[tuple[CellKey, bool], Series] = {}
    short: dict[CellKey, CellKey] = {}

    def series_of(key: CellKey, *, is_foreign: bool) -> Series:
        if (key, is_foreign) not in found:
            found[key, is_foreign] = Series(key, is_foreign)
        return found[key, is_foreign]

    for cell in ledger:
        if cell.key not in short:
            short[cell.key] = cell.key.only(shape.shared)
        series = series_of(short[cell.key], is_foreign=False)
        _add_ours(series.days.setdefault(cell.day, Pair()).ours, cell, shape)
    for one in vendor:
        if one.key not in short:
            short[one.key] = one.key.only(shape.shared)
        # What only a part of the statement names is no series of its own: its amounts are in that of the others.
        is_foreign = registry.is_foreign(short[one.key])
        # Where nobody of ours can be beside it, nothing that is stated is summed over.
        key = one.key if is_foreign or not _is_of_models(one) else short[one.key]
        series = series_of(key, is_foreign=is_foreign)
        _add_theirs(series.days.setdefault(one.day, Pair()).theirs, one, shape)
    for series in found.values():
        for day, pair in series.days.items():
            if UNLISTED in pair.ours.amount:
                pair.make_total()
            if shape.states_requests and pair.theirs.requests is None and not pair.theirs.cells:
                pair.theirs.requests = 0
            if not shape.states_amounts:
                _price_theirs(series.key, day, pair, price_of)
    return list(found.values()), shape


def _is_of_models(cell: VendorCell) -> bool:
    meters = cell.quantity.keys() | cell.amount_nanousd.keys()
    return not meters or bool(meters & TOKEN_METERS) or ALL in meters


def _add(into: dict[str, Quantity], more: Mapping[str, Quantity]) -> None:
    for name, units in more.items():
        into[name] = into.get(name, 0) + units


def _add_amounts(into: dict[str, int], more: Iterable[tuple[str, int]]) -> None:
    for name, amount in more:
        into[name] = into.get(name, 0) + amount


def _add_ours(into: Ours, cell: LedgerCell, shape: Shape) -> None:
    into.cells.append(cell)
    into.requests += cell.requests
    listed = 0
    for line in cell.lines:
        meter = shape.meter(line.meter)
        into.quantity[meter] = into.quantity.get(meter, 0) + line.quantity
        amount_meter = shape.amount_meter(meter)
        into.amount[amount_meter] = into.amount.get(amount_meter, 0) + line.amount_nanousd
        listed += line.amount_nanousd
        if line.price_nanousd_per_million is not None:
            into.prices.setdefault(meter, set()).add(line.price_nanousd_per_million)
    if cell.amount_nanousd != listed:
        _add_amounts(into.amount, [(shape.amount_meter(UNLISTED), cell.amount_nanousd - listed)])
    for name, part in cell.parts.items():
        folded: dict[str, Quantity] = {}
        for meter, units in part.quantity.items():
            _add(folded, {shape.meter(meter): units})
        kept = Part(requests=part.requests, quantity=folded, amount_nanousd=part.amount_nanousd)
        into.parts[name] = into.parts[name] + kept if name in into.parts else kept


def _add_theirs(into: Theirs, cell: VendorCell, shape: Shape) -> None:
    into.cells.append(cell)
    if cell.requests is not None:
        into.requests = (into.requests or 0) + cell.requests
    _add(into.quantity, cell.quantity)
    _add_amounts(into.amount, [(shape.amount_meter(name), amount) for name, amount in cell.amount_nanousd.items()])
    _add_amounts(into.listed, [(shape.amount_meter(name), amount) for name, amount in cell.list_amount_nanousd.items()])


def _price_theirs(key: CellKey, day: date, pair: Pair, price_of: PriceOf) -> None:
    """Where the vendor states counts and no amounts, what they come to here; the bill is compared with their sum."""
    for meter, units in pair.theirs.quantity.items():
        own = pair.ours.quantity.get(meter, 0)
        if own:
            amount = divide_half_even_of(pair.ours.amount.get(meter, 0), units, own)
        else:
            price = price_of(key, day, meter)
            if price is None:
                continue
            amount = divide_half_even_of(price, units, 1_000_000)
        pair.theirs.amount[meter] = amount


def divide_half_even_of(amount: int, units: Quantity, of: Quantity) -> int:
    """`amount * units / of`, rounded half to even once; exact for fractions of units too."""
    numerator = amount * units.numerator * of.denominator
    denominator = units.denominator * of.numerator
    return divide_half_even(-numerator, -denominator) if denominator < 0 else divide_half_even(numerator, denominator)
