"""Frozen types of the export: what it is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

Grain = Literal["hour", "day", "entry"]
ChargeKind = Literal["usage", "suspense", "overage", "correction", "adjustment", "transfer"]


@dataclass(frozen=True, slots=True)
class PriceLine:
    """A line of an entry: so many units at a price per million, rounded half-even once."""

    kind: str
    units: int
    price_nanousd_per_million: int
    amount_nanousd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One entry that is spend; a call's overage is part of the charge it belongs to, as the price lines cover both.

    `overage_id` names that second entry. `corrected_nanousd` is the amount of the entry that a correction corrects.
    `billing_month` is the first day of the month it is booked in, `held_at` when the call was begun. `block_ids` are the
    blocks of the capability that was shown, root first; there are none where it is no call.
    """

    entry_id: str
    kind: ChargeKind
    amount_nanousd: int
    held_at: datetime
    billing_month: date
    grant_id: str
    grant_path: str
    grant_class: str
    owner: str
    tags: Mapping[str, Any] = field(default_factory=dict)
    block_ids: tuple[str, ...] = ()
    overage_id: str | None = None
    corrected_nanousd: int | None = None
    vendor: str | None = None
    deployment: str | None = None
    model: str | None = None
    tier: str | None = None
    usage_source: str | None = None
    price_source: str | None = None
    lines: tuple[PriceLine, ...] = ()
    settlement: Mapping[str, Any] | None = None

    @property
    def entry_ids(self) -> tuple[str, ...]:
        return (self.entry_id,) if self.overage_id is None else (self.entry_id, self.overage_id)

    @property
    def principal_id(self) -> str | None:
        """The block that was issued: whoever holds it authenticated, whatever was appended to it since."""
        return self.block_ids[0] if self.block_ids else None


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingMonth:
    """A calendar month in UTC, by its first day, and whether anything can still be booked in it."""

    month: date
    is_closed: bool
    created_at: datetime
    updated_at: datetime


InvoiceStatus = Literal["Open", "Issued", "Voided"]
InvoiceCategory = Literal["Usage", "Purchase", "Tax", "Credit", "Adjustment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLine:
    """One line of an invoice; `grain` says what of it a line is about, such as `{"ServiceName": "Claude API"}`."""

    detail_id: str
    amount_nanousd: int
    created_at: datetime
    updated_at: datetime
    category: InvoiceCategory = "Usage"
    description: str | None = None
    grain: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """What a vendor asks to be paid for a month, from whatever statement it was read.

    `issuer` is who billed it where that was said; None leaves it to `names.Naming`. `owed_nanousd` is what the ledger says
    the vendor is owed for the month, None where it does not say.
    """

    vendor: str
    invoice_id: str
    month: date
    status: InvoiceStatus
    lines: Sequence[InvoiceLine]
    issuer: str | None = None
    owed_nanousd: int | None = None
    issued_at: datetime | None = None
    due_at: datetime | None = None
    payment_terms: str | None = None
    corrects_invoice_id: str | None = None

    @property
    def is_owed(self) -> bool:
        """Whether it asks for what the ledger says is owed, to the nano-dollar."""
        return self.owed_nanousd == sum(line.amount_nanousd for line in self.lines)


def first_instant(month: date) -> datetime:
    """When a month begins, in UTC."""
    return datetime(month.year, month.month, 1, tzinfo=UTC)


def month_of(instant: datetime) -> date:
    """The first day of the month, in UTC."""
    day = instant.astimezone(UTC).date()
    return day.replace(day=1)


def charge_period(held_at: datetime, grain: Grain) -> tuple[datetime, datetime]:
    """The hour or day of a call, or for `entry` the second in which it was begun."""
    start = held_at.astimezone(UTC).replace(microsecond=0)
    if grain == "entry":
        return start, start + timedelta(seconds=1)
    start = start.replace(minute=0, second=0)
    if grain == "hour":
        return start, start + timedelta(hours=1)
    start = start.replace(hour=0)
    return start, start + timedelta(days=1)
