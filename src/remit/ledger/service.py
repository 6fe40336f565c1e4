"""Reports whose totals are checked, and the doctor's verdict."""

import re
from collections.abc import Sequence
from datetime import datetime

from remit.ledger.model import CheckResult, Difference, Report, ReportRow
from remit.ledger.ports import LedgerReader

_TAG = re.compile(r"[a-z][a-z0-9_.-]{0,62}")


class UnknownDimensionError(ValueError):
    """A report was asked for by something that can be neither a dimension nor a tag."""


class ReportMismatchError(Exception):
    """A report's total is not the ledger's (I21); such a report is never shown."""


def spend_report(
    ledger: LedgerReader, by: Sequence[str], since: datetime | None = None, until: datetime | None = None
) -> Report:
    """Spend by group. Raises UnknownDimensionError, and ReportMismatchError instead of showing a wrong total.

    The total is computed a second time without grouping; entries that arrive between the two reads are why the second
    read has to bracket the first.
    """
    for name in by:
        if not _TAG.fullmatch(name):
            raise UnknownDimensionError(f"`{name}` is neither a dimension nor the name of a tag")
    before = ledger.total_nanousd(since, until)
    rows = tuple(ledger.report(by, since, until))
    after = ledger.total_nanousd(since, until)
    total = ReportRow(
        group=(),
        requests=sum(row.requests for row in rows),
        tokens=sum(row.tokens for row in rows),
        amount_nanousd=sum(row.amount_nanousd for row in rows),
        suspense_nanousd=sum(row.suspense_nanousd for row in rows),
    )
    if not min(before, after) <= total.amount_nanousd <= max(before, after):
        raise ReportMismatchError(f"the report sums to {total.amount_nanousd}, the ledger to {after} nano-USD")
    return Report(tuple(by), since, until, rows, total)


def check_books(ledger: LedgerReader) -> list[CheckResult]:
    """All checks of storage, and that every single-dimension report sums to the ledger (I21)."""
    results = list(ledger.checks())
    differences = []
    dimensions = ("team", "feature", "experiment", "environment", "class", "model", "grant")
    for name in dimensions:
        try:
            spend_report(ledger, (name,))
        except ReportMismatchError as error:
            differences.append(Difference("reports", name, "the ledger's total", str(error)))
    results.append(CheckResult("reports", "every report sums to the ledger", len(dimensions), tuple(differences)))
    return results
