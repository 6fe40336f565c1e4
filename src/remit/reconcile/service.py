"""Compares a vendor's month: what the ledger has, what statements say, and what is to be booked for the difference."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import Any, Final, Protocol

from remit.ledger.accounting import Adjustment
from remit.ledger.months import Bill, month_after
from remit.reconcile.comparison import Comparison, Drift
from remit.reconcile.matching.adjust import Proposal, propose
from remit.reconcile.matching.cells import Charge, Invoice, InvoiceLine, VendorCell
from remit.reconcile.matching.claims import Finding
from remit.reconcile.matching.from_facts import Fact, ledger_cells
from remit.reconcile.matching.from_lines import vendor_cells
from remit.reconcile.matching.match import Settings, match_vendor
from remit.reconcile.matching.suspense import (
    Resolution,
    StatedCall,
    SuspendedHold,
    resolve_by_call,
    resolve_by_cell,
)
from remit.reconcile.statements.model import StatementLine

BOOKED_BEFORE: Final = "booked_before"
"""The cause of what was booked for the month by an earlier comparison: no difference any more."""
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


class MonthReader(Protocol):
    """A vendor's month, everything as of one instant."""

    def facts(self) -> Iterable[Fact]:
        """What calls came to."""
        ...

    def suspended(self) -> list[SuspendedHold]: ...

    def booked(self) -> Mapping[tuple[str, str], int]:
        """What was booked besides calls, by grant and cause."""
        ...

    def statements(self) -> list[Stated]:
        """Those that no later version has taken the place of, and that cover some of the month."""
        ...

    def lines(self, statement_id: str) -> Iterable[StatementLine]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A comparison, and what the statements say about holds in suspense."""

    comparison: Comparison
    resolutions: tuple[Resolution, ...]


def compare(  # noqa: PLR0917 - one parameter per thing it is compared by
    reader: MonthReader,
    vendor: str,
    settings: Settings,
    bills: Sequence[Bill],
    chosen: Sequence[str],
    accepted: Collection[str],
    unassigned_grant_id: str,
) -> Compared:
    """A vendor's month with the statements `chosen` (ids), or with all there are of it. Raises ComparingError.

    What somebody has looked into, and accepts, is proposed to be booked like any other: `accepted` are the causes. The ledger's side is what it is charged now, what was booked earlier included; what is proposed is what is still missing.
    """
    month = settings.month
    statements = choose(reader.statements(), chosen)
    ours = ledger_cells(reader.facts())
    theirs, calls = _stated(reader, statements, vendor, month)
    invoices = [_invoice(one, month) for one in bills]
    matched = match_vendor(vendor, ours, theirs, invoices, settings)
    findings = [
        replace(one, proposal="adjustment") if one.proposal == "look" and one.cause.value in accepted else one
        for one in matched.findings
    ]
    proposal = propose(findings, ours, unassigned_grant_id=unassigned_grant_id)
    booked = dict(reader.booked())
    drift = [_drift(one, month) for one in findings]
    earlier = sum(booked.values())
    if earlier:
        drift.append(_booked_before(booked, month))
    suspended = reader.suspended()
    by_call = resolve_by_call(suspended, calls)
    known = {one.hold_id for one in by_call}
    rest = [hold for hold in suspended if hold.hold_id not in known]
    comparison = Comparison(
        month=month,
        vendor=vendor,
        statements=[one.id for one in statements],
        bills=bills,
        ledger_nanousd=matched.ledger_nanousd + earlier,
        drift=drift,
        adjustments=still_missing(proposal.adjustments, booked, vendor, month),
        feedback=_feedback(proposal),
    )
    return Compared(comparison=comparison, resolutions=(*by_call, *resolve_by_cell(rest, ours, theirs)))


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
        issuer=bill.vendor,
        id=bill.invoice_id,
        vendor=bill.vendor,
        month=month,
        total_nanousd=bill.total_nanousd,
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


def _booked_before(booked: Mapping[tuple[str, str], int], month: date) -> Drift:
    return Drift(
        cause=BOOKED_BEFORE,
        outcome="explained",
        confidence="exact",
        first_day=month,
        last_day=month,
        about={},
        amount_nanousd=-sum(booked.values()),
        evidence=dict(sorted(_by_cause(booked).items())),
    )


def _by_cause(booked: Mapping[tuple[str, str], int]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for (_, cause), amount in booked.items():
        sums[cause] = sums.get(cause, 0) + amount
    return sums


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
