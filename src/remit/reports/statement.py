"""What one owner was charged in a month of the books, and what is to be done about it: the numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Protocol

from remit.kernel.money import format_usd
from remit.ledger.model import REPORT_SUMS, ReportRow
from remit.ledger.ports import LedgerReader
from remit.ledger.service import spend_report
from remit.reports.budget import BudgetLine
from remit.reports.total import Span, merged, span_before
from remit.reports.units import MILLION, UnitCosts, over, unit_costs

_TAGS = ("team", "feature")
# From which share of retries on somebody should look: one call in twenty.
_RETRIES_PPM = 50_000
_SOON = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """A charge that belongs to no call, and why: an adjustment of a vendor's, or a part of a transfer."""

    kind: str
    held_at: datetime
    billing_month: date
    grant_path: str
    owner: str
    vendor: str | None
    amount_nanousd: int
    cause: str | None
    transfer_id: str | None
    booked_by: str | None
    note: str | None


class BookingReader(Protocol):
    """Reads what belongs to no call."""

    def bookings(self, month: date, owners: Sequence[str] | None) -> list[Booking]:
        """What was booked in a month, of these owners or of all, in the order of recording."""
        ...


@dataclass(frozen=True, slots=True)
class Held:
    """A grant that the owner answers for now."""

    path: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What somebody answers for now, under every spelling of their name, and how its limits stand."""

    owner: str
    spellings: tuple[str, ...]
    grants: tuple[Held, ...]
    budget: tuple[BudgetLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """`days` are charges by the day they were used, and `earlier` those used before the month and booked in it.

    Their sum is `total`. `before_nanousd` is the month before. `budget` is as of `made_at`, and `todo` what follows from all of it.
    """

    owner: str
    month: date
    made_at: datetime
    is_over: bool
    total: ReportRow
    before_nanousd: int
    by_grant: tuple[ReportRow, ...]
    by_model: tuple[ReportRow, ...]
    days: tuple[tuple[date, int], ...]
    earlier_nanousd: int
    units: UnitCosts
    budget: tuple[BudgetLine, ...]
    bookings: tuple[Booking, ...]
    todo: tuple[str, ...]


def rows_booked_in(
    ledger: LedgerReader, month: Span, by: Sequence[str], only: dict[str, list[str]] | None = None
) -> list[ReportRow]:
    """Sums of what is booked in a month, whenever it was used; groups have no month."""
    report = spend_report(ledger, ("billing_month", *by), None, month.until, only)
    wanted = f"{month.since:%Y-%m}"
    return [
        ReportRow(row.group[1:], **{name: getattr(row, name) for name in REPORT_SUMS})
        for row in report.rows
        if row.group[0] == wanted
    ]


def statement_of(
    ledger: LedgerReader, bookings: BookingReader, holding: Holding, month: Span, now: datetime
) -> Statement:
    """The statement of an owner's charges: what their grants were charged while they answered for them."""
    owners = sorted({holding.owner, *holding.spellings})
    only = {"owner": owners}
    rows = rows_booked_in(ledger, month, ("grant", "model", "day", *_TAGS), only)
    before = rows_booked_in(ledger, span_before(month), ("owner",), only)
    total = ReportRow((), **{name: sum(getattr(row, name) for row in rows) for name in REPORT_SUMS})
    by_day = {date.fromisoformat(str(row.group[0])): row.amount_nanousd for row in merged(rows, 2)}
    count = (month.until - month.since).days
    days = tuple((day, by_day.pop(day, 0)) for day in (month.since.date() + timedelta(days=n) for n in range(count)))
    made = Statement(
        owner=holding.owner,
        month=month.since.date(),
        made_at=now,
        is_over=now >= month.until,
        total=total,
        before_nanousd=sum(row.amount_nanousd for row in before),
        by_grant=merged(rows, 0),
        by_model=merged(rows, 1),
        days=days,
        earlier_nanousd=sum(by_day.values()),
        units=unit_costs(total),
        budget=holding.budget,
        bookings=tuple(bookings.bookings(month.since.date(), owners)),
        todo=(),
    )
    untagged = {
        tag: sum(row.amount_nanousd - row.booked_nanousd for row in rows if row.group[number] is None)
        for number, tag in enumerate(_TAGS, start=3)
    }
    return _with(made, todo=tuple(_todo(made, untagged, holding.grants)))


def cents_text(amount_nanousd: int) -> str:
    """Dollars and cents as a page shows them; less than a cent is not nothing."""
    text = format_usd(amount_nanousd, decimals=2)
    if amount_nanousd and text.lstrip("-") == "$0.00":
        return "<$0.01" if amount_nanousd > 0 else ">-$0.01"
    return text


def _with(one: Statement, **fields: Any) -> Statement:
    return Statement(**{name: fields.get(name, getattr(one, name)) for name in Statement.__dataclass_fields__})


def _todo(one: Statement, untagged: dict[str, int], held: Sequence[Held]) -> list[str]:
    found = []
    for line in one.budget:
        if line.verdict == "spent":
            found.append(
                f"{line.path} has spent its limit per {line.period}: ask for more, or wait for the next {line.period}."
            )
        elif line.verdict in ("will_exceed", "may_exceed"):
            word = "is expected to reach" if line.verdict == "will_exceed" else "may reach"
            found.append(f"{line.path} {word} its limit per {line.period} before {line.ends_at:%Y-%m-%d}.")
    if one.total.suspense_nanousd > 0:
        found.append(
            f"{cents_text(one.total.suspense_nanousd)} is an upper bound: those calls did not say what they cost."
            " The vendor's statement settles them."
        )
    found += [
        f"{cents_text(amount)} carries no tag {tag}: name it in the scope of the grant, or in the calls."
        for tag, amount in untagged.items()
        if amount > 0
    ]
    retries = over(one.total.retries * MILLION, one.total.requests)
    if retries is not None and retries >= _RETRIES_PPM:
        found.append(f"{retries // 10_000} of 100 calls were repeated attempts: each of them may have been charged.")
    for grant in held:
        if one.made_at <= grant.expires_at < one.made_at + _SOON:
            found.append(f"{grant.path} ends on {grant.expires_at:%Y-%m-%d}: ask for its renewal, or let it go.")
    return found
