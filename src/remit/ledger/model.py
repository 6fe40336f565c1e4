"""Frozen types of the ledger."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

SPEND_KINDS: Final = ("usage", "adjustment", "transfer", "overage", "suspense", "correction")
DEBT_KINDS: Final = ("overdraft", "repayment")

REPORT_DIMENSIONS: Final = (
    "team",
    "feature",
    "experiment",
    "environment",
    "tenant",
    "class",
    "model",
    "vendor",
    "owner",
    "grant",
    "kind",
    "day",
)
"""What a report can be grouped by; anything else is taken as the name of a tag."""


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One group: its values in the order asked for (None where an entry has none), and sums over its entries.

    `requests` counts settled calls, `suspense_nanousd` is the part of `amount_nanousd` that is a bound and not a fact.
    """

    group: tuple[str | None, ...]
    requests: int
    tokens: int
    amount_nanousd: int
    suspense_nanousd: int


@dataclass(frozen=True, slots=True)
class Report:
    """Rows by amount, largest first, and their total. `since <= held_at < until`."""

    by: tuple[str, ...]
    since: datetime | None
    until: datetime | None
    rows: tuple[ReportRow, ...]
    total: ReportRow


@dataclass(frozen=True, slots=True)
class Difference:
    """Two numbers that must agree and do not."""

    check: str
    subject: str
    expected: Any
    found: Any


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check of the books: how much it looked at, and every difference it found (none is the healthy answer)."""

    name: str
    title: str
    examined: int
    differences: tuple[Difference, ...]
