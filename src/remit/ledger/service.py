"""Reports whose totals are checked, and the doctor's verdict."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches

from remit.kernel.names import TAG_NAME
from remit.ledger.model import REPORT_DIMENSIONS, REPORT_SUMS, TIMES, CheckResult, Difference, Report, ReportRow
from remit.ledger.ports import LedgerReader


class UnknownDimensionError(ValueError):
    """A report was asked for by something that can be neither a dimension nor a tag."""


class ReportMismatchError(Exception):
    """A report's total is not the ledger's (I21); such a report is never shown."""


def conditions(texts: Sequence[str]) -> dict[str, list[str]]:
    """What `only` of a report is, from texts `name=value`; values of one name are alternatives. Raises UnknownDimensionError."""
    found: dict[str, list[str]] = {}
    for text in texts:
        name, given, value = text.partition("=")
        if not given:
            raise UnknownDimensionError(f"`{text}` is not of the form NAME=VALUE")
        found.setdefault(name, []).append(value)
    return found


def spend_report(
    ledger: LedgerReader,
    by: Sequence[str],
    since: datetime | None = None,
    until: datetime | None = None,
    only: Mapping[str, Sequence[str]] | None = None,
) -> Report:
    """Charges by group, of what has one of the values of every name in `only` (an empty value: none). Raises UnknownDimensionError, and ReportMismatchError instead of showing a wrong total.

    The total is computed a second time without grouping, over the same state of the ledger.
    """
    for name in (*by, *(only or ())):
        if not TAG_NAME.fullmatch(name):
            raise UnknownDimensionError(f"`{name}` is neither a dimension nor the name of a tag")
    for name in TIMES:
        if only and name in only:
            raise UnknownDimensionError(f"`{name}` is a time: say since when and until when instead")
    found, in_all = ledger.report(by, since, until, only)
    rows = tuple(found)
    sums = {name: sum(getattr(row, name) for row in rows) for name in REPORT_SUMS}
    total = ReportRow((), **sums)
    if total.amount_nanousd != in_all:
        raise ReportMismatchError(f"the report sums to {total.amount_nanousd}, the ledger to {in_all} nano-USD")
    return Report(tuple(by), since, until, rows, total)


def remarks_on(ledger: LedgerReader, names: Iterable[str]) -> list[str]:
    """A line for each name that a report was asked for by, and that is no dimension, no tag of any charge and not governed.

    It may be meant, and what such a report says is true; more often it is misspelt.
    """
    asked = [name for name in dict.fromkeys(names) if name not in REPORT_DIMENSIONS]
    unknown = frozenset(ledger.unknown_tags(asked) if asked else ())
    return [_unknown_text(name) for name in asked if name in unknown]


def _unknown_text(name: str) -> str:
    near = get_close_matches(name, REPORT_DIMENSIONS, n=1)
    hint = f"; did you mean `{near[0]}`?" if near else ""
    return f"no entry has a tag `{name}`{hint}"


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
