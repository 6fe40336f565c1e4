"""One series of a month, both its sides, and how a mistake is put into it."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

from remit.reconcile.matching.cause import Cause
from remit.reconcile.matching.cells import CellKey, LedgerCell, Part, PartName, VendorCell
from remit.testing.months.books import Booked, Books
from remit.testing.months.vendors import METERS, Billed, Shape, bill

STATED: Final[Mapping[str, frozenset[str]]] = {
    "openai": frozenset({"project", "key_id", "model", "tier", "is_batch"}),
    "anthropic": frozenset({"project", "key_id", "model", "region"}),
    "openrouter": frozenset({"model"}),
    "google": frozenset({"project", "model", "region"}),
    "bedrock": frozenset({"account", "model", "region"}),
}
"""What each vendor's statement says of whose usage it is."""
STATES_REQUESTS: Final = frozenset({"openai", "openrouter", "google"})
TOTAL_ONLY: Final = frozenset({"openrouter"})


@dataclass(frozen=True, slots=True)
class Injected:
    """A mistake that was put in: its cause, whose, and by how much it makes the vendor's side larger."""

    cause: Cause
    key: CellKey
    amount_nanousd: int


@dataclass(slots=True, kw_only=True)
class Case:
    """One series. `theirs` is by day and context window; what is in `extra` is stated besides."""

    key: CellKey
    rng: random.Random
    books: Books
    grants: tuple[str, str]
    tier_requested: str | None = None
    renamed: Mapping[str, str] | None = None
    text: str | None = None
    ours: dict[date, Booked] = field(default_factory=dict)
    theirs: dict[tuple[date, str | None], Billed] = field(default_factory=dict)
    shapes: dict[date, list[Shape]] = field(default_factory=dict)
    stated_key: CellKey | None = None  # where the vendor states another than the ledger has
    extra: list[VendorCell] = field(default_factory=list)
    injected: list[Injected] = field(default_factory=list)
    entries: int = 0

    @property
    def model(self) -> str:
        assert self.key.model is not None
        return self.key.model

    @property
    def tier(self) -> str:
        return self.key.tier or "default"

    @property
    def meters(self) -> Sequence[str]:
        return [(self.renamed or {}).get(meter, meter) for meter in METERS]

    def days(self) -> list[date]:
        return sorted(self.shapes)

    def fill(self, day: date, shapes: list[Shape]) -> None:
        """A day on which both sides agree: each prices the same requests by itself."""
        self.shapes[day] = shapes
        self.entries += sum(shape.count for shape in shapes)
        self.ours[day] = self.book(shapes, day)
        self.theirs[day, None] = self.bill(shapes)

    def book(self, shapes: list[Shape], day: date) -> Booked:
        return self.books.book_shapes(shapes, day, self.key, renamed=self.renamed)

    def bill(
        self, shapes: list[Shape], model: str | None = None, tier: str | None = None, times: tuple[int, int] = (1, 1)
    ) -> Billed:
        return bill(shapes, model or self.model, tier or self.tier, times=times, meters=self.meters)

    def rebill(self, day: date, shapes: list[Shape], **how: object) -> None:
        """The vendor states other requests, or the same at another price."""
        self.theirs[day, None] = self.bill(shapes, **how)  # type: ignore[arg-type]

    def draw(self, count: int, kinds: int) -> list[Shape]:
        """Requests in at most so many shapes."""
        rng, kinds = self.rng, max(1, min(kinds, count))
        found = []
        for index in range(kinds):
            share = count // kinds + (1 if index < count % kinds else 0)
            writes = self.key.vendor == "anthropic"
            shape = Shape(
                plain=rng.randrange(600, 6_000),
                cached=rng.randrange(101, 3_000) | 1,
                written=rng.randrange(100, 2_000) if writes else 0,
                output=rng.randrange(60, 1_800),
                count=share,
            )
            if self.renamed:
                shape = Shape(0, 0, 0, rng.randrange(1, 9), share)
            found.append(shape)
        return found

    def found_key(self) -> CellKey:
        """The key of what is found about it: as far as its vendor states it."""
        return self.key.only(STATED[self.key.vendor])

    def difference(self) -> int:
        """How much more the vendor has now."""
        return sum(one.total for one in self.theirs.values()) - sum(one.total for one in self.ours.values())

    def inject(self, cause: Cause, amount: int | None = None, key: CellKey | None = None) -> None:
        """Notes what was put in: without an amount, all by which the sides differ now."""
        self.injected.append(Injected(cause, key or self.found_key(), self.difference() if amount is None else amount))

    def ledger_cells(self) -> list[LedgerCell]:
        return [
            booked.cell(day, self.key, self.tier_requested, self.grants)
            for day, booked in self.ours.items()
            if booked.requests or booked.lines
        ]

    def vendor_cells(self) -> list[VendorCell]:
        """What the vendor states of it, as far as it states anything."""
        vendor = self.key.vendor
        key = (self.stated_key or self.key).only(STATED[vendor])
        found = []
        for (day, window), billed in self.theirs.items():
            amount = {"all": billed.total} if vendor in TOTAL_ONLY else dict(billed.amount)
            quantity = dict(billed.quantity)
            if vendor in TOTAL_ONLY:  # this one does not tell cached tokens from others
                quantity["input"] = quantity.get("input", 0) + quantity.pop("cache_read", 0)
            found.append(
                VendorCell(
                    day=day,
                    key=key,
                    requests=billed.requests if vendor in STATES_REQUESTS else None,
                    quantity=quantity,
                    amount_nanousd=amount,
                    list_amount_nanousd=dict(billed.listed),
                    context_window=window,
                    issuer="market" if vendor == "bedrock" else None,
                    text=self.text,
                )
            )
        return found + self.extra


Injection = Callable[[Case], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a mistake is made: in which kind of series, and by what."""

    inject: Injection
    vendor: str = "openai"
    model: str = "gpt-4o-mini"
    tier: str = "default"
    is_batch: bool = False
    tier_requested: str | None = None
    renamed: Mapping[str, str] | None = None
    long_requests: bool = False


def part_of(case: Case, shapes: list[Shape], day: date) -> Part:
    """Some requests as a part of the ledger's cell."""
    return case.book(shapes, day).part()


def bound_of(case: Case, day: date, name: PartName, count: int) -> None:
    """Books calls of unknown cost at their ceiling, as a part of the cell."""
    bound = case.books.book_bound(count, day, case.key, input_tokens=4_000, output_tokens=8_192)
    case.ours[day].add(bound)
    case.ours[day].parts[name] = bound.part()


def some(case: Case, least: int = 1, most: int = 3, *, days: int = 0) -> list[date]:
    """A few days in the middle of the month, in order."""
    inner = case.days()[3:-5]
    return sorted(case.rng.sample(inner, days or case.rng.randint(least, most)))


def next_day(day: date) -> date:
    """The day after."""
    return day + timedelta(days=1)
