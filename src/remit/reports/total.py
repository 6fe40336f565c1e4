"""How much is charged in all: one span, by class and vendor, beside the one before."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from remit.ledger.model import REPORT_SUMS, ReportRow
from remit.ledger.ports import LedgerReader
from remit.ledger.service import spend_report

Calendar = Literal["month", "quarter", "year"]
_MONTHS: dict[Calendar, int] = {"month": 1, "quarter": 3, "year": 12}
_DAY = timedelta(days=1)
_LONGEST = timedelta(days=36_525)


class InvalidSpanError(ValueError):
    """Two instants that are no span that can be compared with the one before; the message says why."""


@dataclass(frozen=True, slots=True)
class Span:
    """`since <= held_at < until`, whole days of UTC where it is one of the calendar."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Total:
    """What is charged in a span, and in the one before.

    `previous_to_date` are the first days of that, as many as have begun of this one; None where the span is over.
    """

    span: Span
    sums: ReportRow
    by_class: tuple[ReportRow, ...]
    by_vendor: tuple[ReportRow, ...]
    previous: Span
    previous_nanousd: int
    previous_to_date: Span | None
    previous_to_date_nanousd: int | None


def calendar_span(kind: Calendar, now: datetime) -> Span:
    """The month, quarter or year of UTC that an instant is in."""
    months = _MONTHS[kind]
    now = now.astimezone(UTC)
    first = (now.month - 1) // months * months + 1
    since = datetime(now.year, first, 1, tzinfo=UTC)
    return Span(since, _months_later(since, months))


def span_of(since: datetime, until: datetime) -> Span:
    """The span between two instants. Raises InvalidSpanError."""
    if since >= until:
        raise InvalidSpanError("a span begins before it ends")
    if since.year < 1970 or until - since > _LONGEST:
        raise InvalidSpanError("a span begins in 1970 or later, and has a hundred years at most")
    return Span(since.astimezone(UTC), until.astimezone(UTC))


def span_before(span: Span) -> Span:
    """As many months before, where it begins and ends with months; otherwise as much time before."""
    months = (span.until.year - span.since.year) * 12 + span.until.month - span.since.month
    if span.since.day == 1 and months > 0 and _months_later(span.since, months) == span.until:
        return Span(_months_later(span.since, -months), span.since)
    return Span(span.since - (span.until - span.since), span.since)


def total_of(ledger: LedgerReader, span: Span, now: datetime) -> Total:
    """The total of a span. Reads whole days where it is one of the calendar: no entry that is in the sums is looked at."""
    report = spend_report(ledger, ("class", "vendor"), span.since, span.until)
    previous = span_before(span)
    to_date = None
    if span.since <= now < span.until:
        begun = (now - span.since) // _DAY + 1
        to_date = Span(previous.since, min(previous.since + begun * _DAY, previous.until))
    return Total(
        span,
        report.total,
        merged(report.rows, 0),
        merged(report.rows, 1),
        previous,
        ledger.total_nanousd(previous.since, previous.until),
        to_date,
        None if to_date is None else ledger.total_nanousd(to_date.since, to_date.until),
    )


def merged(rows: Sequence[ReportRow], position: int) -> tuple[ReportRow, ...]:
    """Rows summed by one of the values of their groups, largest first."""
    groups: dict[str | None, list[ReportRow]] = {}
    for row in rows:
        groups.setdefault(row.group[position], []).append(row)
    made = [
        ReportRow((value,), **{name: sum(getattr(row, name) for row in found) for name in REPORT_SUMS})
        for value, found in groups.items()
    ]
    return tuple(sorted(made, key=lambda row: (-row.amount_nanousd, row.group[0] or "")))


def _months_later(since: datetime, months: int) -> datetime:
    years, month = divmod(since.month - 1 + months, 12)
    return since.replace(year=since.year + years, month=month + 1)
