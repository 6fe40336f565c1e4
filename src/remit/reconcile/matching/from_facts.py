"""What the ledger's entries come to, as cells. A fact is a call, or the sum of many that agree in all but their numbers."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from typing import Final, Literal

from remit.reconcile.matching.cells import CellKey, LedgerCell, Part, PartName, PricedLine, Quantity

EntryKind = Literal["usage", "overage", "suspense", "correction"]
_NOT_CHARGED: Final = "not charged"
_NOT_SENT: Final = "nothing can have been billed"
NOT_STATED: Final = "which does not have it"
"""How the note of a correction ends where the vendor's statement has every call, and this one not."""
NOT_COUNTED: Final = "beyond the calls it counts"
"""And where the statement counts fewer calls than there are, and this is one that it does not count."""
# A share of what the vendor states is right in sum, and no bound of anything.
_SHARE: Final = ("correction", "estimated")
# The first word that is in a note says what happened; the gateway writes them (`gateway/settlement.py`).
_NOTES: Final[tuple[tuple[str, PartName], ...]] = (
    ("caller", "caller_left"),
    ("stated no usage", "suspense"),
    ("time", "timeout"),
    ("status", "status"),
    ("ended without", "vendor_dropped"),
    ("vendor", "vendor_dropped"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Entries of calls, by what distinguishes them.

    `day` is that of their `held_at` in UTC. Of suspense no correction has come yet; of a `correction` the fact is the whole call, what
    it cost in the end. `lines` are the frozen price lines; those of a ceiling are of the highest price that could have been, not of
    one that was. `is_amount_only`: it is known what they cost, and not what they used. `midnight` says that they were held within
    the minutes before midnight and settled after it; `is_late`, that they were recorded on a later day.
    """

    day: date
    key: CellKey
    kind: EntryKind
    grant_id: str
    requests: int
    amount_nanousd: int
    lines: tuple[PricedLine, ...] = ()
    tier_requested: str | None = None
    price_source: str | None = None
    usage_source: Literal["vendor", "recovered", "estimated"] | None = None
    note: str | None = None
    is_amount_only: bool = False
    is_later_attempt: bool = False
    is_late: bool = False
    midnight: bool = False
    fell_back: bool = False
    from_cache: bool = False
    settled_on: date | None = None


def part_of_note(note: str | None) -> PartName:
    """What happened to a call in suspense, by the note of its entry."""
    text = (note or "").lower()
    return next((part for word, part in _NOTES if word in text), "suspense")


def ledger_cells(facts: Iterable[Fact]) -> list[LedgerCell]:
    """One cell for each day, key and requested tier; facts in any order."""
    cells: dict[tuple[date, CellKey, str | None], LedgerCell] = {}
    for fact in facts:
        at = (fact.day, fact.key, fact.tier_requested)
        found = cells.get(at) or _empty(*at)
        cells[at] = _voided(found, fact) if _is_voided(fact) else _added(found, fact)
        if fact.midnight and fact.settled_on is not None and not _is_voided(fact):
            on = (fact.settled_on, fact.key, fact.tier_requested)
            next_day = cells.get(on) or _empty(*on)
            cells[on] = replace(next_day, parts=_parts(next_day, {"after_midnight": _part(fact)}))
    return list(cells.values())


def _empty(day: date, key: CellKey, tier_requested: str | None) -> LedgerCell:
    return LedgerCell(day=day, key=key, tier_requested=tier_requested, requests=0, lines=(), amount_nanousd=0)


def _is_voided(fact: Fact) -> bool:
    """Whether it is an attempt that the vendor does not charge for: by its status, or as its statement does not have it."""
    if fact.amount_nanousd or any(line.quantity for line in fact.lines):
        return False
    note = fact.note or ""
    if fact.kind == "correction":  # before its end stands what people say
        return note.endswith((_NOT_CHARGED, _NOT_SENT, NOT_STATED, NOT_COUNTED))
    return fact.kind == "usage" and not fact.lines and _NOT_CHARGED in note


def _voided(cell: LedgerCell, fact: Fact) -> LedgerCell:
    names: list[PartName] = ["voided", *(["fell_back"] if fact.fell_back else [])]  # type: ignore[list-item]
    return replace(cell, parts=_parts(cell, {name: Part(requests=fact.requests) for name in names}))


def _added(cell: LedgerCell, fact: Fact) -> LedgerCell:
    lines = {(line.meter, line.price_nanousd_per_million): line for line in cell.lines}
    for line in _lines(fact):
        at = (line.meter, line.price_nanousd_per_million)
        known = lines.get(at, PricedLine(line.meter, line.price_nanousd_per_million, 0, 0))
        lines[at] = replace(
            known,
            quantity=known.quantity + line.quantity,
            amount_nanousd=known.amount_nanousd + line.amount_nanousd,
        )
    sources = cell.price_sources | ({fact.price_source} if fact.price_source else set())
    spent = cell.grants.get(fact.grant_id, 0) + fact.amount_nanousd
    return replace(
        cell,
        requests=cell.requests + _counted(fact),
        lines=tuple(lines.values()),
        amount_nanousd=cell.amount_nanousd + fact.amount_nanousd,
        price_sources=sources,
        parts=_parts(cell, dict.fromkeys(_names(fact), _part(fact))),
        grants={**cell.grants, fact.grant_id: spent},
    )


def _counted(fact: Fact) -> int:
    """How many requests the vendor has of them. One that it does not count can have a share of what several cost."""
    return 0 if fact.kind == "correction" and (fact.note or "").endswith(NOT_COUNTED) else fact.requests


def _lines(fact: Fact) -> Iterable[PricedLine]:
    """The lines that say what was used."""
    if fact.kind == "overage":
        return ()
    if fact.kind == "suspense":  # a ceiling's price is no price that was charged
        return tuple(replace(line, price_nanousd_per_million=None) for line in fact.lines)
    return fact.lines


def _names(fact: Fact) -> list[PartName]:
    names: list[PartName] = []
    if fact.kind == "suspense":
        names.append(part_of_note(fact.note))
    elif fact.is_amount_only:
        names.append("amount_only")
    elif fact.usage_source is not None and fact.requests and (fact.kind, fact.usage_source) != _SHARE:
        names.append(fact.usage_source)
    if fact.kind == "usage" and fact.requests and not any(line.quantity for line in fact.lines):
        names.append("zero_usage")
    flags: tuple[tuple[bool, PartName], ...] = (
        (fact.is_later_attempt, "retries"),
        (fact.is_late, "late"),
        (fact.midnight, "before_midnight"),
        (fact.from_cache, "cache_hits"),
    )
    return names + [name for is_so, name in flags if is_so]


def _part(fact: Fact) -> Part:
    quantity: dict[str, Quantity] = {}
    for line in _lines(fact):
        quantity[line.meter] = quantity.get(line.meter, 0) + line.quantity
    return Part(requests=_counted(fact), quantity=quantity, amount_nanousd=fact.amount_nanousd)


def _parts(cell: LedgerCell, more: dict[PartName, Part]) -> dict[PartName, Part]:
    parts = dict(cell.parts)
    for name, part in more.items():
        parts[name] = parts.get(name, Part()) + part
    return parts
