"""What the ledger's entries come to, as cells. A fact is one entry, or the sum of many that agree in all but their numbers."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from typing import Final, Literal

from remit.reconcile.matching.cells import CellKey, LedgerCell, Part, PartName, PricedLine, Quantity

EntryKind = Literal["usage", "overage", "suspense", "correction"]
_NOT_CHARGED: Final = "not charged"
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

    `day` is that of their `held_at` in UTC. `is_open` is of suspense: no correction has come yet. `lines` are the frozen price
    lines; those of a ceiling are of the highest price that could have been, not of one that was. `midnight` says that they were
    held within the minutes before midnight and settled after it; `is_late`, that they were recorded on a later day.
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
    is_open: bool = False
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
    """Whether it is an attempt that the vendor answered with a status it does not charge for."""
    return fact.kind == "usage" and not fact.amount_nanousd and not fact.lines and _NOT_CHARGED in (fact.note or "")


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
        requests=cell.requests + fact.requests,
        lines=tuple(lines.values()),
        amount_nanousd=cell.amount_nanousd + fact.amount_nanousd,
        price_sources=sources,
        parts=_parts(cell, dict.fromkeys(_names(fact), _part(fact))),
        grants={**cell.grants, fact.grant_id: spent},
    )


def _lines(fact: Fact) -> Iterable[PricedLine]:
    """The lines that say what was used. Of a suspense that was corrected those of the correction do."""
    if fact.kind == "overage" or (fact.kind == "suspense" and not fact.is_open):
        return ()
    if fact.kind == "suspense":  # a ceiling's price is no price that was charged
        return tuple(replace(line, price_nanousd_per_million=None) for line in fact.lines)
    return fact.lines


def _names(fact: Fact) -> list[PartName]:
    names: list[PartName] = []
    if fact.kind == "suspense" and fact.is_open:
        names.append(part_of_note(fact.note))
    elif fact.usage_source is not None and fact.requests:
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
    return Part(requests=fact.requests, quantity=quantity, amount_nanousd=fact.amount_nanousd)


def _parts(cell: LedgerCell, more: dict[PartName, Part]) -> dict[PartName, Part]:
    parts = dict(cell.parts)
    for name, part in more.items():
        parts[name] = parts.get(name, Part()) + part
    return parts
