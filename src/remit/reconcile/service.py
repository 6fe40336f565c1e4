"""Compares a vendor's month: what the ledger has, what statements say, and what is to be booked for the difference."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import Any, Final, Protocol

from remit.ledger.accounting import Adjustment
from remit.ledger.months import Bill, month_after
from remit.reconcile.comparison import Comparison, Drift, Standing
from remit.reconcile.matching.adjust import Proposal, propose
from remit.reconcile.matching.cells import Charge, Invoice, InvoiceLine, LedgerCell, VendorCell
from remit.reconcile.matching.claims import Finding
from remit.reconcile.matching.from_facts import Fact, ledger_cells
from remit.reconcile.matching.from_lines import vendor_cells
from remit.reconcile.matching.match import Matched, Settings, match_vendor
from remit.reconcile.matching.suspense import (
    Resolution,
    StatedCall,
    SuspendedHold,
    resolve_by_call,
    resolve_by_cell,
)
from remit.reconcile.other_months import (
    LATE_BOOKING,
    OtherMonths,
    Share,
    adjustments_of_late,
    booked_before,
    drift_of_other_months,
    of_other_months,
)
from remit.reconcile.statements.model import StatementLine

_CALLS: Final = "openrouter.generations"
# Of sources that state the same money the one that says more about it.
_PREFERRED: Final = {
    "anthropic.cost_report": "anthropic.analytics_cost",
    "anthropic.analytics_usage": "anthropic.usage_messages",
}


_CHARGES: Final[Mapping[str, Charge]] = {
    "tax": "tax",
    "credit": "credit",
    "purchase": "purchase",
    "adjustment": "adjustment",
}


class ComparingError(Exception):
    """The month cannot be compared with what there is; the message says what is missing, or one too many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """A statement that could be compared with, without its lines."""

    id: str
    source: str
    account: str
    covers_since: datetime
    covers_until: datetime
    is_complete: bool


class MonthReader(Protocol):
    """A vendor's month, everything as of one instant."""

    def facts(self) -> Iterable[Fact]:
        """What calls came to."""
        ...

    def suspended(self) -> list[SuspendedHold]: ...

    def standing(self) -> Standing: ...

    def others(self) -> OtherMonths:
        """What the month has to do with others."""
        ...

    def statements(self) -> list[Stated]:
        """Those that no later version has taken the place of, and that cover some of the month."""
        ...

    def lines(self, statement_id: str) -> Iterable[StatementLine]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A comparison, what the statements say about holds in suspense, and which sources the statements are of."""

    comparison: Comparison
    resolutions: tuple[Resolution, ...]
    sources: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a month is compared with: bills, and the ids of statements, all there are if none are named.

    `accepted` are the causes of findings that somebody has looked into. `unassigned_grant_id` bears what no grant explains.
    `withdraws`: an earlier comparison of the month has bills, which this one, without any, takes the place of.
    """

    unassigned_grant_id: str
    bills: Sequence[Bill] = ()
    statements: Sequence[str] = ()
    accepted: Collection[str] = ()
    withdraws: bool = False


def compare(reader: MonthReader, vendor: str, settings: Settings, given: Given) -> Compared:
    """A vendor's month with its statements and bills. Raises ComparingError.

    What somebody accepts is proposed to be booked like any other, and what was accepted and booked before is not taken back
    because nobody accepts it this time. The ledger's side is
    what is booked in the month now, what was booked by earlier comparisons included; what is proposed is what is still missing.
    """
    month = settings.month
    statements = choose(reader.statements(), given.statements)
    standing, others = reader.standing(), reader.others()
    if not statements and not given.bills and not (given.withdraws and standing.is_nothing):
        raise ComparingError("there is neither a statement of the month nor a bill to compare with")
    ours = ledger_cells(reader.facts())
    theirs, calls = _stated(reader, statements, vendor, month)
    booked = standing.booked_nanousd
    accepted = frozenset(given.accepted)
    matched, share = _matched(vendor, ours, theirs, given.bills, settings, others)
    findings = [
        replace(one, proposal="adjustment") if one.proposal == "look" and one.cause.value in accepted else one
        for one in matched.findings
    ]
    proposal = propose(findings, ours, unassigned_grant_id=given.unassigned_grant_id)
    elsewhere = drift_of_other_months(share, others, month, accepted=LATE_BOOKING in accepted) if given.bills else []
    wanted = [*proposal.adjustments, *adjustments_of_late(elsewhere, others, vendor, month)]
    _require_sums(matched, standing, others)
    drift = [*(_drift(one, month) for one in findings), *booked_before(booked, month), *elsewhere]
    suspended = reader.suspended()
    by_call = resolve_by_call(suspended, calls)
    known = {one.hold_id for one in by_call}
    rest = [hold for hold in suspended if hold.hold_id not in known]
    comparison = Comparison(
        month=month,
        vendor=vendor,
        statements=[one.id for one in statements],
        bills=given.bills,
        accepted=sorted(given.accepted),
        accepted_before=standing.unexplained,
        ledger_nanousd=standing.owed_nanousd,
        basis=standing.digest,
        drift=drift,
        adjustments=still_missing(wanted, _without(booked, drift), vendor, month),
        feedback=_feedback(proposal),
    )
    resolutions = (*by_call, *resolve_by_cell(rest, ours, theirs, _complete_until(statements, theirs)))
    return Compared(comparison=comparison, resolutions=resolutions, sources=frozenset(one.source for one in statements))


def _complete_until(statements: Sequence[Stated], theirs: Sequence[VendorCell]) -> date:
    """The day from which on the vendor may still state calls that it has: the last one that it states, unless all of it is final."""
    if all(one.is_complete for one in statements):
        return min((one.covers_until.date() for one in statements), default=date.min)
    return max((cell.day for cell in theirs), default=date.min)


def _require_sums(matched: Matched, standing: Standing, others: OtherMonths) -> None:
    """The sums that are kept are those of the entries, or nothing is proposed by either."""
    entries = matched.ledger_nanousd + sum(standing.booked_nanousd.values())
    owed = standing.charged_nanousd - others.moved_nanousd + others.late
    if (entries, owed) != (standing.charged_nanousd, standing.owed_nanousd):
        raise ComparingError(
            f"{matched.vendor}: the sums of the month are not those of its entries ({entries} and {standing.charged_nanousd}"
            f" nano-USD, {owed} and {standing.owed_nanousd}): `remit doctor` says where"
        )


def _without(booked: Mapping[tuple[str, str], int], drift: Iterable[Drift]) -> dict[tuple[str, str], int]:
    """What was booked, but for causes that are found and that nobody accepts now."""
    left = {one.cause for one in drift if one.outcome == "look"}
    return {at: amount for at, amount in booked.items() if at[1] not in left}


def _matched(  # noqa: PLR0917 - one parameter for each side
    vendor: str,
    ours: Sequence[LedgerCell],
    theirs: Sequence[VendorCell],
    bills: Sequence[Bill],
    settings: Settings,
    others: OtherMonths,
) -> tuple[Matched, Share]:
    """The month's own usage against that part of its bills that is not of other months, and this part."""
    invoices = [_invoice(one, settings.month) for one in bills]
    matched = match_vendor(vendor, ours, theirs, invoices, settings)
    if not invoices:
        return matched, Share()
    share = of_other_months(matched.beyond_nanousd, others)
    if share.amount_nanousd:
        invoices[0] = _less(invoices[0], share.amount_nanousd)
        matched = match_vendor(vendor, ours, theirs, invoices, settings)
    return matched, share


def _less(invoice: Invoice, amount_nanousd: int) -> Invoice:
    usage, *others = invoice.lines
    lines = (replace(usage, amount_nanousd=usage.amount_nanousd - amount_nanousd), *others)
    return replace(invoice, total_nanousd=invoice.total_nanousd - amount_nanousd, lines=lines)


def choose(statements: Sequence[Stated], chosen: Sequence[str]) -> list[Stated]:
    """The statements to compare with: those chosen by id, or all, without sources that another one says more about.

    Raises ComparingError where two of them state the same money, as one sum of both would count it twice.
    """
    if chosen:
        known = {one.id: one for one in statements}
        missing = [name for name in chosen if name not in known]
        if missing:
            raise ComparingError(f"{', '.join(missing)}: no current statement of this vendor that covers the month")
        return [known[name] for name in dict.fromkeys(chosen)]
    sources = {one.source for one in statements}
    kept = [one for one in statements if _PREFERRED.get(one.source) not in sources]
    costs = sorted({one.source for one in kept if not is_usage(one.source) and one.source != _CALLS})
    if len(costs) > 1:
        names = ", ".join(f"{one.id} ({one.source})" for one in kept if one.source in costs)
        raise ComparingError(f"{' and '.join(costs)} state the same money; choose what to compare with: {names}")
    return kept


def is_usage(source: str) -> bool:
    """Whether a source states counts, and its vendor's money stands in another one."""
    return source.rsplit(".", maxsplit=1)[-1].startswith("usage_") or source.endswith("_usage")


def still_missing(
    adjustments: Iterable[Adjustment], booked: Mapping[tuple[str, str], int], vendor: str, month: date
) -> list[Adjustment]:
    """What of the adjustments was not booked yet, and what was booked and is not found any more, taken back.

    By who bears it and why: where nothing was booked for these, they stay as they are; elsewhere the difference is one entry.
    """
    groups: dict[tuple[str, str], list[Adjustment]] = {}
    for one in adjustments:
        groups.setdefault((one.grant_id, one.cause), []).append(one)
    found: list[Adjustment] = []
    for at in sorted({*groups, *booked}):
        group, before = groups.get(at, []), booked.get(at, 0)
        missing = sum(one.amount_nanousd for one in group) - before
        if not before:
            found += group
        elif missing:
            found.append(
                Adjustment(
                    grant_id=at[0],
                    vendor=vendor,
                    amount_nanousd=missing,
                    held_at=group[-1].held_at if group else datetime.combine(month, time(tzinfo=UTC)),
                    cause=at[1],
                    evidence={"booked_before_nanousd": str(before)},
                )
            )
    return found


def takes_back(one: Adjustment) -> bool:
    """Whether an adjustment takes back some of what was booked before."""
    before = one.evidence.get("booked_before_nanousd")
    return before is not None and (int(before) < 0) != (one.amount_nanousd < 0)


def _stated(
    reader: MonthReader, statements: Sequence[Stated], vendor: str, month: date
) -> tuple[list[VendorCell], list[StatedCall]]:
    """What the statements say of the month, as cells, and of single calls."""
    usage: list[StatementLine] = []
    costs: list[StatementLine] = []
    calls: list[StatedCall] = []
    for one in statements:
        lines = (line for line in reader.lines(one.id) if line.vendor == vendor and _is_of(line, month))
        if one.source == _CALLS:
            calls += [
                StatedCall(vendor_request_id=line.native_id, amount_nanousd=line.amount_nanousd)
                for line in lines
                if line.native_id is not None and line.amount_nanousd is not None
            ]
        elif is_usage(one.source):
            usage += lines
        else:
            costs += lines
    return vendor_cells(usage, costs), calls


def _is_of(line: StatementLine, month: date) -> bool:
    begins = line.starts_at.astimezone(UTC).date()
    return month <= begins < month_after(month)


def _invoice(bill: Bill, month: date) -> Invoice:
    lines = [
        InvoiceLine(
            charge=_CHARGES.get(one.kind, "usage"),
            amount_nanousd=one.amount_nanousd,
            meter=None if one.kind in _CHARGES else one.kind,
            text=one.text,
        )
        for one in bill.lines
    ]
    usage = bill.total_nanousd - sum(one.amount_nanousd for one in lines)
    return Invoice(
        issuer=bill.issuer or bill.vendor,
        id=bill.invoice_id,
        vendor=bill.vendor,
        month=month,
        total_nanousd=bill.total_nanousd,
        currency=bill.currency,
        rate_text=bill.rate,
        lines=(InvoiceLine(charge="usage", amount_nanousd=usage), *lines),
    )


def _drift(one: Finding, month: date) -> Drift:
    about: dict[str, Any] = {
        name: value
        for name, value in (
            ("account", one.key.account),
            ("project", one.key.project),
            ("key_id", one.key.key_id),
            ("deployment", one.key.deployment),
            ("model", one.key.model),
            ("tier", one.key.tier),
            ("is_batch", one.key.is_batch),
            ("region", one.key.region),
        )
        if value is not None
    }
    days = one.days or (month,)
    quantity = {meter: str(units) for meter, units in one.quantity.items()}
    return Drift(
        cause=one.cause.value,
        outcome=one.proposal,
        confidence=one.confidence,
        first_day=min(days),
        last_day=max(days),
        about=about,
        amount_nanousd=one.amount_nanousd,
        evidence={**one.evidence, "quantity": quantity, "requests": one.requests},
    )


def _feedback(proposal: Proposal) -> list[dict[str, Any]]:
    """What the price book and the ceilings should learn, as it is kept."""
    prices = [
        {
            "what": "price",
            "vendor": one.vendor,
            "model": one.model,
            "meter": one.meter,
            "ours_nanousd_per_million": one.ours_nanousd_per_million,
            "theirs_nanousd_per_million": one.theirs_nanousd_per_million,
            "since": one.since.isoformat(),
        }
        for one in proposal.price_errors
    ]
    ceilings = [
        {
            "what": "ceiling",
            "vendor": one.vendor,
            "model": one.model,
            "cause": one.cause.value,
            "amount_nanousd": one.amount_nanousd,
            "requests": one.requests,
        }
        for one in proposal.ceiling_errors
    ]
    return [*prices, *ceilings]
