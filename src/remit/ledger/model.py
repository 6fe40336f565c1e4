"""Frozen types of the ledger."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

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
    "deployment",
    "tier",
    "day",
    "month",
    "billing_month",
)
"""What a report can be grouped by; anything else is taken as the name of a tag."""

TIMES: Final = ("day", "month", "billing_month")
"""Those of the dimensions that are times; days and months are those of UTC."""


class ArchivedError(ValueError):
    """What was asked for needs entries that are in the archive alone; the message says which."""


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One group: its values in the order asked for (None where an entry has none), and sums over its entries.

    `amount_nanousd` is what is charged; of it `suspense_nanousd` is a bound and not a fact, and `booked_nanousd` is no call's
    cost: what a vendor charged otherwise than metered, and what was moved here or away. `requests` counts settled calls, `retries`
    those of them that their caller's library numbered as a later attempt. Of `tokens`, which of a call in suspense is a bound
    too, the kinds are known where usage is stated; audio is counted with its direction.
    """

    group: tuple[str | None, ...]
    requests: int
    retries: int
    tokens: int
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    amount_nanousd: int
    suspense_nanousd: int
    booked_nanousd: int


REPORT_SUMS: Final = tuple(one.name for one in fields(ReportRow) if one.name != "group")
"""The numbers of a report's row, in order."""


@dataclass(frozen=True, slots=True)
class Report:
    """Rows by amount, largest first, and their total. `since <= held_at < until`."""

    by: tuple[str, ...]
    since: datetime | None
    until: datetime | None
    rows: tuple[ReportRow, ...]
    total: ReportRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Debt:
    """What the limits of one kind of one grant lent, and what became of it; in nano-USD.

    `made` is less what evidence about calls showed not to have been needed; `outstanding` is `made - repaid - forgiven`, below
    zero until what was settled too much is given back. What was settled counts for the oldest debts: `since` is when the
    oldest part of what is owed was lent (None where nothing is), in the period that began at `period_start`.
    """

    grant_id: str
    path: str
    owner: str
    grant_class: str
    period: str
    made: int
    repaid: int
    forgiven: int
    outstanding: int
    since: datetime | None
    period_start: datetime | None


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
