"""Three passes over a month: how much was used, at which price, and what the bill adds. Every nano-dollar ends in a finding.

The identity that holds whatever the inputs are: bill == ledger + sum of the findings' amounts, for each vendor.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from typing import Final, Literal

from remit.pricing.book import PriceBook
from remit.pricing.model import Unpriced
from remit.reconcile.matching.cause import ABOUT, Cause
from remit.reconcile.matching.cells import CellKey, Invoice, LedgerCell, Quantity, Tolerance, VendorCell
from remit.reconcile.matching.charges import Stated, Terms, bill_charges, cause_of, cell_charges
from remit.reconcile.matching.claims import Claim, Confidence, Finding, PriceError, Rest
from remit.reconcile.matching.context import Context, Grantee
from remit.reconcile.matching.likeness import words_in
from remit.reconcile.matching.registry import Registry
from remit.reconcile.matching.rules import RULES
from remit.reconcile.matching.rules.moved import moved
from remit.reconcile.matching.rules.scope import who
from remit.reconcile.matching.series import Series, Shape, pair_cells

_FIRST: Final = frozenset({"first_seen", "since"})
_SUMMED: Final = frozenset({"days", "calls", "hits", "days_missing", "of_an_earlier_month", "requests_over_midnight"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a month is matched with. Vendors without a tolerance have `default_tolerance`.

    `issuers` are the names by which a vendor bills itself, besides its own; whoever else does is a marketplace.
    `aliases` are the ledger's names of models by those in the vendor's statements, for each vendor.
    """

    month: date
    registry: Registry = field(default_factory=lambda: Registry(()))
    prices: PriceBook | None = None
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)
    default_tolerance: Tolerance = field(default_factory=Tolerance)
    issuers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    aliases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def terms(self, vendor: str) -> Terms:
        tolerance = self.tolerances.get(vendor, self.default_tolerance)
        return Terms(tolerance=tolerance, issuers=self.issuers.get(vendor, frozenset()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """A vendor's month. `bill_nanousd` is the sum of its bills, or of its cost lines where there is no bill yet.

    `bill_nanousd == ledger_nanousd + sum(finding.amount_nanousd)`. `beyond_nanousd` is what its bills say of usage less what its
    cost lines do, 0 without a bill.
    """

    vendor: str
    ledger_nanousd: int
    cost_lines_nanousd: int
    bill_nanousd: int
    series: int
    findings: tuple[Finding, ...]
    beyond_nanousd: int = 0


def match_month(
    ledger: Iterable[LedgerCell], vendor: Iterable[VendorCell], invoices: Iterable[Invoice], settings: Settings
) -> tuple[Matched, ...]:
    """Every vendor's month by itself, by name. What a vendor has no statement and no bill of is not compared, and left out."""
    ours: dict[str, list[LedgerCell]] = {}
    theirs: dict[str, list[VendorCell]] = {}
    bills: dict[str, list[Invoice]] = {}
    for cell in ledger:
        ours.setdefault(cell.key.vendor, []).append(cell)
    for one in vendor:
        theirs.setdefault(one.key.vendor, []).append(one)
    for bill in invoices:
        bills.setdefault(bill.vendor, []).append(bill)
    return tuple(
        match_vendor(name, ours.get(name, ()), theirs.get(name, ()), bills.get(name, ()), settings)
        for name in sorted(theirs.keys() | bills.keys())
    )


def match_vendor(
    vendor: str, ledger: Sequence[LedgerCell], cells: Sequence[VendorCell], bills: Sequence[Invoice], settings: Settings
) -> Matched:
    """One vendor's month. Where it has bills and no statement, the bills are compared with the ledger as a whole."""
    names = names_of(vendor, ledger, cells, settings)
    cells = [_renamed(cell, names) for cell in cells]
    usage = [cell for cell in cells if _is_usage(cell, settings.month)]
    others = [cell for cell in cells if not _is_usage(cell, settings.month)]
    terms = settings.terms(vendor)
    paired, about = _paired(ledger, usage, settings, terms.tolerance)
    all_series = dict(enumerate(paired))
    ledger_nanousd = sum(cell.amount_nanousd for cell in ledger)
    states_nothing = bool(bills) and not cells
    found = [] if states_nothing else list(_explain(all_series, about))
    found += cell_charges(others, settings.month)
    if states_nothing:
        stated_usage: dict[str | None, int] = {None: ledger_nanousd}
    elif not about.shape.states_amounts:
        total = sum(sum(pair.theirs.amount.values()) for one in paired for pair in one.days.values())
        stated_usage = {None: total}
    else:
        stated_usage = {}
        for cell in usage:
            stated_usage[cell.issuer] = stated_usage.get(cell.issuer, 0) + cell.total_nanousd
    charges: dict[Cause, int] = {}
    for cell in others:
        cause = cause_of(cell, settings.month)
        assert cause is not None
        charges[cause] = charges.get(cause, 0) + cell.total_nanousd
    cost_lines = sum(stated_usage.values()) + sum(charges.values())
    if bills:
        found += bill_charges(vendor, bills, Stated(usage=stated_usage, charges=charges), settings.month, terms)
    billed_usage = sum(
        line.amount_nanousd for one in bills for line in one.lines if cause_of(line, settings.month) is None
    )
    bill_nanousd = sum(bill.total_nanousd for bill in bills) if bills else cost_lines
    findings = _findings(found)
    assert bill_nanousd == ledger_nanousd + sum(one.amount_nanousd for one in findings), vendor
    return Matched(
        vendor=vendor,
        ledger_nanousd=ledger_nanousd,
        cost_lines_nanousd=cost_lines,
        bill_nanousd=bill_nanousd,
        series=len(paired),
        findings=findings,
        beyond_nanousd=billed_usage - sum(stated_usage.values()) if bills else 0,
    )


def names_of(
    vendor: str, ledger: Sequence[LedgerCell], cells: Sequence[VendorCell], settings: Settings
) -> dict[str, str]:
    """The ledger's names of models that the vendor calls otherwise: those of the settings, and other names of the price book.

    A name of the price book counts where exactly one model of the ledger is the same entry of it.
    """
    ours = {cell.key.model for cell in ledger if cell.key.model}
    names = dict(settings.aliases.get(vendor, {}))
    entries: dict[str, list[str]] = {}
    for model in sorted(ours):
        if (entry := _entry(vendor, model, settings)) is not None:
            entries.setdefault(entry, []).append(model)
    for stated in {cell.key.model for cell in cells if cell.key.model} - ours - names.keys():
        same = entries.get(_entry(vendor, stated, settings) or "", [])
        if len(same) == 1:
            names[stated] = same[0]
    return names


def _entry(vendor: str, model: str, settings: Settings) -> str | None:
    if settings.prices is None:
        return None
    found = settings.prices.lookup(vendor, model, datetime.combine(settings.month, time(12, tzinfo=UTC)))
    return None if isinstance(found, Unpriced) else found.model


def _renamed(cell: VendorCell, names: Mapping[str, str]) -> VendorCell:
    name = names.get(cell.key.model or "")
    return cell if name is None else replace(cell, key=replace(cell.key, model=name))


def _is_usage(cell: VendorCell, month: date) -> bool:
    return cause_of(cell, month) is None


def _paired(
    ledger: Sequence[LedgerCell], usage: Sequence[VendorCell], settings: Settings, tolerance: Tolerance
) -> tuple[list[Series], Context]:
    shape = Shape(frozenset(), frozenset(), states_requests=False, states_amounts=True, is_total=False)
    pricing = Context(month=settings.month, registry=settings.registry, prices=settings.prices, shape=shape)
    paired, shape = pair_cells(ledger, usage, settings.registry, pricing.price_of)
    about = Context(
        month=settings.month,
        registry=settings.registry,
        prices=settings.prices,
        tolerance=tolerance,
        shape=shape,
        grantees=grantees_of(ledger, shape),
        last_day=max((cell.day for cell in usage if pricing.is_in_month(cell.day)), default=None),
    )
    return paired, about


def grantees_of(ledger: Iterable[LedgerCell], shape: Shape) -> list[Grantee]:
    """The gateway's own use of each key: its largest grant, the words of its names, and the models used on it."""
    kept = shape.shared | {"project", "key_id"}
    grants: dict[CellKey, dict[str, int]] = {}
    models: dict[CellKey, dict[str, int]] = {}
    short: dict[CellKey, CellKey] = {}
    for cell in ledger:
        if cell.key not in short:
            short[cell.key] = who(cell.key.only(frozenset(kept)))
        key = short[cell.key]
        spent, used = grants.setdefault(key, {}), models.setdefault(key, {})
        for grant, amount in cell.grants.items():
            spent[grant] = spent.get(grant, 0) + amount
        if cell.key.model:
            used[cell.key.model] = used.get(cell.key.model, 0) + cell.amount_nanousd
    return [
        Grantee(
            key=key,
            grant_id=max(sorted(spent), key=lambda one: spent[one], default=""),
            words=words_in(key.project, key.key_id),
            models=models[key],
        )
        for key, spent in grants.items()
    ]


def _explain(all_series: Mapping[int, Series], about: Context) -> Iterable[tuple[CellKey, Claim]]:
    """Claims that together are exactly what the series differ by."""
    rests: dict[int, Rest] = {}
    for number, series in all_series.items():
        rest = Rest(series, about.shape.meters)
        for day in rest.days():
            if _is_of_unknown_usage(series, rest, about, day):
                rest.forget_counts(day)
        if rest:
            rests[number] = rest
    between = list(moved(all_series, rests))
    for number, claim in between:
        rests[number].take(claim)
        yield all_series[number].key, claim
    for number, rest in rests.items():
        series = all_series[number]
        for rule in RULES:
            if not rest or about.is_noise(series, rest):
                break
            for claim in rule(series, rest, about):
                rest.take(claim)
                yield series.key, claim
        yield from _left(series, rest, about)


def _is_of_unknown_usage(series: Series, rest: Rest, about: Context, day: date) -> bool:
    """Whether all that a day differs by are tokens that the vendor counts of calls of which only the amount is known here."""
    return (
        "amount_only" in series.days[day].ours.parts
        and day not in rest.requests
        and all(units > 0 for units in rest.units(day).values())
        and all(about.within(series, spot, rest) for spot in rest.amount if spot[0] == day)
    )


def _left(series: Series, rest: Rest, about: Context) -> Iterable[tuple[CellKey, Claim]]:
    """What no rule explained: rounding where it is within the tolerance, line by line, and else an open question."""
    noise = {spot: amount for spot, amount in rest.amount.items() if about.within(series, spot, rest)}
    if noise:
        yield series.key, Claim(cause=Cause.LINE_ROUNDING, amount=noise, evidence={"lines": len(noise)})
    more = {spot: amount for spot, amount in rest.amount.items() if spot not in noise}
    if more or ((rest.quantity or rest.requests) and not about.is_noise(series, rest)):
        yield (
            series.key,
            Claim(
                cause=Cause.UNEXPLAINED,
                amount=more,
                quantity=dict(rest.quantity),
                requests=dict(rest.requests),
                evidence={"lines": len(more)},
                confidence="likely",
            ),
        )


def _findings(claims: Iterable[tuple[CellKey, Claim]]) -> tuple[Finding, ...]:
    """One for each cause and key, the largest amounts first."""
    groups: dict[tuple[Cause, CellKey], list[Claim]] = {}
    for key, claim in claims:
        groups.setdefault((claim.cause, claim.key or key), []).append(claim)
    found = [_finding(cause, key, group) for (cause, key), group in groups.items()]
    return tuple(sorted(found, key=lambda one: (-abs(one.amount_nanousd), one.cause, one.key.text())))


def _finding(cause: Cause, key: CellKey, claims: Sequence[Claim]) -> Finding:
    by_day: dict[date, int] = {}
    quantity: dict[str, Quantity] = {}
    errors: dict[PriceError, None] = {}
    for claim in claims:
        for (day, _), amount in claim.amount.items():
            by_day[day] = by_day.get(day, 0) + amount
        for (_, meter), units in claim.quantity.items():
            quantity[meter] = quantity.get(meter, 0) + units
        errors |= dict.fromkeys(claim.price_errors)
    confidence: Confidence = "exact" if all(claim.confidence == "exact" for claim in claims) else "likely"
    proposal: Literal["adjustment", "explained", "look"] = ABOUT[cause].booking
    return Finding(
        cause=cause,
        key=key,
        days=tuple(sorted(set().union(*(claim.days() for claim in claims)))),
        amount_nanousd=sum(by_day.values()),
        quantity=quantity,
        requests=sum(sum(claim.requests.values()) for claim in claims),
        evidence=_merged(claims),
        confidence=confidence,
        proposal=proposal,
        by_day_nanousd=dict(sorted(by_day.items())),
        price_errors=tuple(errors),
    )


def _merged(claims: Sequence[Claim]) -> dict[str, str | int]:
    """Evidence of several claims: amounts and counts add up, the first day counts, what else differs is listed."""
    merged: dict[str, str | int] = {}
    for claim in claims:
        for name, value in claim.evidence.items():
            known = merged.get(name)
            if known is None or (known == value and not _adds_up(name)):
                merged[name] = value
            elif name in _FIRST:
                merged[name] = min(str(known), str(value))
            elif isinstance(known, int) and isinstance(value, int) and _adds_up(name):
                merged[name] = known + value
            elif str(value) not in str(known).split(", "):
                merged[name] = f"{known}, {value}"[:500]
    return merged


def _adds_up(name: str) -> bool:
    return name in _SUMMED or name.endswith("_nanousd") or name == "lines"
