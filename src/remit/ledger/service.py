"""Reports whose totals are checked, and the doctor's verdict."""

from collections.abc import Sequence
from datetime import datetime

from remit.kernel.names import TAG_NAME
from remit.ledger.model import CheckResult, Difference, Report, ReportRow
from remit.ledger.ports import LedgerReader


class UnknownDimensionError(ValueError):
    """A report was asked for by something that can be neither a dimension nor a tag."""


class ReportMismatchError(Exception):
    """A report's total is not the ledger's (I21); such a report is never shown."""


def spend_report(
    ledger: LedgerReader, by: Sequence[str], since: datetime | None = None, until: datetime | None = None
) -> Report:
    """Spend by group. Raises UnknownDimensionError, and ReportMismatchError instead of showing a wrong total.

    The total is computed a second time without grouping, over the same state of the ledger.
    """
    for name in by:
        if not TAG_NAME.fullmatch(name):
            raise UnknownDimensionError(f"`{name}` is neither a dimension nor the name of a tag")
    found, in_all = ledger.report(by, since, until)
    rows = tuple(found)
    total = ReportRow(
        group=(),
        requests=sum(row.requests for row in rows),
        tokens=sum(row.tokens for row in rows),
        amount_nanousd=sum(row.amount_nanousd for row in rows),
        suspense_nanousd=sum(row.suspense_nanousd for row in rows),
        booked_nanousd=sum(row.booked_nanousd for row in rows),
    )
    if total.amount_nanousd != in_all:
        raise ReportMismatchError(f"the report sums to {total.amount_nanousd}, the ledger to {in_all} nano-USD")
    return Report(tuple(by), since, until, rows, total)


def check_books(ledger: LedgerReader) -> list[CheckResult]:
    """All checks of storage, and that reports agree (I21).

    Reports agree with the ledger by every single dimension, and with what the buckets say was posted. The latter are kept by
    adding and subtracting while holds end: no report and no entry is asked for them.
    """
    results = list(ledger.checks())
    differences = []
    dimensions = ("team", "feature", "experiment", "environment", "class", "model", "grant")
    for name in dimensions:
        try:
            spend_report(ledger, (name,))
        except ReportMismatchError as error:
            differences.append(Difference("reports", name, "the ledger's total", str(error)))
    compared = ledger.reports_of_buckets()
    differences += [
        Difference("reports", subject, posted, reported) for subject, reported, posted in compared if reported != posted
    ]
    title = "every report sums to the ledger, and to what is posted"
    results.append(CheckResult("reports", title, len(dimensions) + len(compared), tuple(differences)))
    return results
