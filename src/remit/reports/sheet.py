"""A month of the books as tables for finance. Amounts are decimals of dollars, exact; each table sums to the month."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from remit.ledger.model import REPORT_SUMS, ReportRow
from remit.ledger.months import Month
from remit.ledger.ports import LedgerReader
from remit.reports.statement import BookingReader, rows_booked_in
from remit.reports.total import Span, merged

Cell = str | int | Decimal | date | None


@dataclass(frozen=True, slots=True)
class Table:
    """A sheet: its name, the names of its columns, and rows of cells."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def dollars(amount_nanousd: int) -> Decimal:
    """The same amount as a decimal of dollars, exact."""
    return Decimal(amount_nanousd).scaleb(-9)


def sheet_of(ledger: LedgerReader, bookings: BookingReader, months: Sequence[Month], month: Span) -> list[Table]:
    """Summary, by owner, by grant, by vendor and model, what belongs to no call, and bills, in this order."""
    rows = rows_booked_in(ledger, month, ("owner", "grant", "class", "vendor", "model", "kind"))
    total = ReportRow((), **{name: sum(getattr(row, name) for row in rows) for name in REPORT_SUMS})
    first = month.since.date()
    standing = next((one for one in months if one.month == first), None)
    charged = ("requests", "tokens", "charged_usd", "suspense_usd", "booked_usd")
    return [
        Table("summary", ("what", "value"), _summary(first, standing, total, rows)),
        Table("by owner", ("owner", *charged), tuple((*row.group, *_sums(row)) for row in merged(rows, 0))),
        Table("by grant", ("grant", "owner", "class", *charged), _by(rows, (1, 0, 2))),
        Table("by vendor and model", ("vendor", "model", *charged), _by(rows, (3, 4))),
        Table(
            "adjustments",
            ("used", "kind", "grant", "owner", "vendor", "cause", "transfer", "booked_by", "note", "amount_usd"),
            tuple(
                (one.held_at.date(), one.kind, one.grant_path, one.owner, one.vendor, one.cause, one.transfer_id,
                 one.booked_by, one.note, dollars(one.amount_nanousd))
                for one in bookings.bookings(first, None)
            ),
        ),
        Table("bills", ("vendor", "invoice", "statement", "amount_usd"), _bills(standing)),
    ]  # fmt: skip


def _summary(
    month: date, standing: Month | None, total: ReportRow, rows: Sequence[ReportRow]
) -> tuple[tuple[Cell, ...], ...]:
    owed = [(f"owed to {row.group[0]}", dollars(row.amount_nanousd)) for row in merged(rows, 3) if row.group[0]]
    by_class = [(f"charged to {row.group[0]}", dollars(row.amount_nanousd)) for row in merged(rows, 2)]
    return (
        ("month", f"{month:%Y-%m}"),
        ("status", "open" if standing is None else standing.status),
        ("revision", 0 if standing is None else standing.revision),
        ("charged in US dollars", dollars(total.amount_nanousd)),
        ("of it an upper bound", dollars(total.suspense_nanousd)),
        ("of it no call's cost", dollars(total.booked_nanousd)),
        ("requests", total.requests),
        *by_class,
        *owed,
    )


def _bills(standing: Month | None) -> tuple[tuple[Cell, ...], ...]:
    totals = {} if standing is None or standing.totals is None else standing.totals
    return tuple(
        (bill["vendor"], bill["invoice_id"], bill.get("statement_id"), dollars(bill["total_nanousd"]))
        for bill in totals.get("bills", ())
    )


def _by(rows: Sequence[ReportRow], places: Sequence[int]) -> tuple[tuple[Cell, ...], ...]:
    groups: dict[tuple[str | None, ...], list[ReportRow]] = {}
    for row in rows:
        groups.setdefault(tuple(row.group[place] for place in places), []).append(row)
    made = [
        ReportRow(group, **{name: sum(getattr(row, name) for row in found) for name in REPORT_SUMS})
        for group, found in groups.items()
    ]
    made.sort(key=lambda row: (-row.amount_nanousd, tuple(value or "" for value in row.group)))
    return tuple((*row.group, *_sums(row)) for row in made)


def _sums(row: ReportRow) -> tuple[Cell, ...]:
    amounts = (row.amount_nanousd, row.suspense_nanousd, row.booked_nanousd)
    return (row.requests, row.tokens, *map(dollars, amounts))
