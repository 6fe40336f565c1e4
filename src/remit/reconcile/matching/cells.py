"""What is compared: sums by day and key, of the ledger and of what a vendor states."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date
from fractions import Fraction
from typing import Final, Literal

Quantity = int | Fraction
"""Exact, in single units. Tokens and requests are whole."""

INPUT_METERS: Final = ("input", "cache_read", "cache_write", "cache_write_1h", "input_audio", "input_image")
OUTPUT_METERS: Final = ("output", "output_audio", "reasoning")
TOKEN_METERS: Final = frozenset((*INPUT_METERS, *OUTPUT_METERS))
ALL: Final = "all"
"""The meter of an amount that the vendor does not divide by what was metered."""

PARENTS: Final = {
    "cache_write_1h": "cache_write",
    "cache_write": "input",
    "cache_read": "input",
    "input_audio": "input",
    "input_image": "input",
    "output_audio": "output",
    "reasoning": "output",
}
"""Where the tokens of a meter stand in the statements of a vendor that does not state it."""

PartName = Literal[
    "retries",  # calls that their caller's library numbered as a later attempt
    "voided",  # attempts that were sent and settled at nothing; they are not in the cell's sums
    "fell_back",  # those of them that another vendor answered afterwards
    "vendor",  # whose usage the vendor stated,
    "recovered",  # was counted here,
    "estimated",  # or is a bound,
    "amount_only",  # or is not known, though the amount is
    "zero_usage",  # whose usage is stated to be nothing
    "caller_left",  # in suspense, by what happened to them
    "vendor_dropped",
    "status",
    "timeout",
    "suspense",  # and for no known reason
    "late",  # booked on a later day than they were used
    "before_midnight",  # held on this day and settled after it, within the minutes that are looked at
    "after_midnight",  # settled on this day and held before it; not in the cell's sums
    "cache_hits",  # answered by the gateway's own cache
    "rejected_prediction",  # predicted output that was rejected, where the ledger does not count it as output
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellKey:
    """Whose usage it is. None is not stated (or summed over), an empty text is stated to be none."""

    vendor: str
    account: str | None = None
    project: str | None = None
    key_id: str | None = None
    deployment: str | None = None
    model: str | None = None
    tier: str | None = None
    is_batch: bool | None = None
    region: str | None = None

    def only(self, kept: frozenset[str]) -> "CellKey":
        """The key with the fields that are not kept summed over."""
        dropped = {name: None for name in KEY_FIELDS if name not in kept and getattr(self, name) is not None}
        return replace(self, **dropped) if dropped else self  # type: ignore[arg-type]

    def text(self) -> str:
        """For people: what is stated, in order."""
        stated = [(one.name, getattr(self, one.name)) for one in fields(self)]
        return " ".join(f"{name}={value}" for name, value in stated if value is not None)


KEY_FIELDS: Final = tuple(one.name for one in fields(CellKey) if one.name != "vendor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a cell: how many calls, what they used, and what was booked for them."""

    requests: int = 0
    quantity: Mapping[str, Quantity] = field(default_factory=dict)
    amount_nanousd: int = 0

    def __add__(self, other: "Part") -> "Part":
        quantity = dict(self.quantity)
        for meter, units in other.quantity.items():
            quantity[meter] = quantity.get(meter, 0) + units
        return Part(
            requests=self.requests + other.requests,
            quantity=quantity,
            amount_nanousd=self.amount_nanousd + other.amount_nanousd,
        )


@dataclass(frozen=True, slots=True)
class PricedLine:
    """What was booked of one meter at one frozen price (None: without a price)."""

    meter: str
    price_nanousd_per_million: int | None
    quantity: Quantity
    amount_nanousd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerCell:
    """What the ledger has for one day of UTC and one key. Adjustments and transfers are not in it.

    `amount_nanousd` is what the calls were booked at; what `lines` do not say of it belongs to no meter. `parts` are of the cell's
    calls unless their name says otherwise. `grants` is who spent how much of the amount.
    """

    day: date
    key: CellKey
    tier_requested: str | None = None
    requests: int
    lines: tuple[PricedLine, ...]
    amount_nanousd: int
    price_sources: frozenset[str] = frozenset()
    parts: Mapping[PartName, Part] = field(default_factory=dict)
    grants: Mapping[str, int] = field(default_factory=dict)


Charge = Literal["usage", "purchase", "tax", "credit", "adjustment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorCell:
    """What a vendor states for one day and one key, by meter. What is not stated is missing.

    `list_amount_nanousd` is before discounts. `ttl` is the duration of a cache where the meter does not say it.
    """

    day: date
    key: CellKey
    requests: int | None = None
    quantity: Mapping[str, Quantity] = field(default_factory=dict)
    amount_nanousd: Mapping[str, int] = field(default_factory=dict)
    list_amount_nanousd: Mapping[str, int] = field(default_factory=dict)
    context_window: str | None = None
    ttl: str | None = None
    charge: Charge = "usage"
    is_correction: bool = False
    issuer: str | None = None
    text: str | None = None

    @property
    def total_nanousd(self) -> int:
        return sum(self.amount_nanousd.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLine:
    """A line of a bill, in nano-USD. `meter` where the line names one, such as `platform_fee`."""

    charge: Charge
    amount_nanousd: int
    meter: str | None = None
    text: str | None = None
    is_correction: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """A bill: who issues it, for which vendor and month, and its total in nano-USD.

    A bill in another currency has been converted; `currency` is its own, and `rate_text` the dollars for one unit of it.
    What the lines do not say of the total is a difference of its own.
    """

    issuer: str
    id: str
    vendor: str
    month: date
    total_nanousd: int
    currency: str = "USD"
    rate_text: str | None = None
    lines: tuple[InvoiceLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What is noise in a vendor's amounts: so much for each line, and so many millionths of it.

    Of counts nothing is noise but the millionths. `bill_unit_nanousd` is what lines of its bills are rounded to: a cent.
    """

    absolute_nanousd: int = 0
    parts_per_million: int = 0
    bill_unit_nanousd: int = 10_000_000

    def of(self, amount_nanousd: int, lines: int = 1) -> int:
        """The largest difference that is none, in nano-USD."""
        return self.absolute_nanousd * lines + abs(amount_nanousd) * self.parts_per_million // 1_000_000
