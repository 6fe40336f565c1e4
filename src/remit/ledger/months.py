"""Months of the books: what closing one takes, and what was signed off."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

MonthStatus = Literal["open", "closed"]
Waivable = Literal["no_bill", "difference", "suspense"]


BillKind = Literal["tax", "credit", "purchase", "adjustment", "platform_fee", "rounding"]
"""What a line of a bill is that is not usage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BillLine:
    """A part of a bill that is not usage; in nano-USD, below zero what is taken off."""

    kind: BillKind
    amount_nanousd: int
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What a vendor billed for a month, in nano-USD: one invoice. What its lines do not say is usage.

    `statement_id` names the statement it is known from. `issuer` is who billed it, None for the vendor itself. A bill in another
    `currency` is stated in dollars at its own `rate`, the dollars for one unit of it.
    """

    vendor: str
    invoice_id: str
    total_nanousd: int
    statement_id: str | None = None
    issuer: str | None = None
    currency: str = "USD"
    rate: str | None = None
    lines: tuple[BillLine, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """What does not hold of a vendor, and why the month is closed all the same.

    `no_bill`: nothing was billed yet; `difference`: the bill is not what is owed; `suspense`: calls whose cost is not known.
    """

    what: Waivable
    vendor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waived(Waiver):
    """A waiver with what it comes to: by how much the bill differs, what is owed, or what is in suspense, in nano-USD."""

    amount_nanousd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ToDecide:
    """A month that would be closed if somebody else agreed: what is waived is more than one person may waive."""

    month: date
    bills: Sequence[Bill]
    waived: Sequence[Waived]


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A month as it is now. `month` is its first day; `revision` counts closings and reopenings, 0 where there was none.

    `totals` is what was signed off, while it is closed.
    """

    month: date
    status: MonthStatus
    revision: int
    changed_at: datetime | None
    changed_by: str | None
    reason: str | None
    totals: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """What closing a month signed off. `is_repeated`: it was closed before, under the same key."""

    month: date
    revision: int
    totals: Mapping[str, Any]
    is_repeated: bool


def month_of(text: str) -> date:
    """The first day of a month written as `2026-11`. Raises ValueError."""
    year, dash, month = text.partition("-")
    if not (dash and len(year) == 4 and len(month) == 2 and (year + month).isascii() and (year + month).isdigit()):
        raise ValueError(f"`{text}` is not a month of the form 2026-11")
    try:
        return date(int(year), int(month), 1)
    except ValueError:
        raise ValueError(f"there is no month `{text}`") from None


def month_text(month: date) -> str:
    """A month as `2026-11`."""
    return f"{month.year:04}-{month.month:02}"


def month_after(month: date) -> date:
    """The first day of the next month."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)
