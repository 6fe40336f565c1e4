"""What a vendor's statement says, in one form for all vendors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal, get_args

Meter = Literal[
    "input",  # input that was neither read from nor written to a cache; embeddings and moderations as well
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "input_audio",
    "input_image",
    "output",
    "output_audio",
    "reasoning",
    "requests",
    "web_search",
    "code_execution",
    "session",
    "storage",
    "images",
    "audio_seconds",
    "characters",
    "platform_fee",
    "tax",
    "credit",
    "rounding",
    "purchase",
    "other",
]
METERS: Final[tuple[Meter, ...]] = get_args(Meter)
TOKEN_METERS: Final[frozenset[Meter]] = frozenset(
    {
        "input",
        "cache_read",
        "cache_write",
        "cache_write_1h",
        "input_audio",
        "input_image",
        "output",
        "output_audio",
        "reasoning",
    }
)
"""Meters that count tokens. They are disjoint: no token stands in two lines of one row."""
Charge = Literal["usage", "purchase", "tax", "credit", "adjustment"]
CHARGES: Final[tuple[Charge, ...]] = get_args(Charge)
MAX_TEXT: Final = 2_000
MAX_TAGS: Final = 200


_HALF: Final = re.compile("[\ud800-\udfff]")
_TEXTS: Final = (
    "vendor",
    "account",
    "project",
    "key_id",
    "region",
    "resource",
    "model",
    "tier",
    "context_window",
    "unit",
    "stated_quantity",
    "stated_unit",
    "amount_text",
    "invoice_id",
    "invoice_issuer",
    "native_id",
    "text",
)


class StatementError(Exception):
    """The bytes are not the statement they are said to be. `line` is the number of the row in the raw file, if one is to blame."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message if line is None else f"line {line}: {message}")
        self.message = message
        self.line = line


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """One count or amount of one period. None is not stated; 0 is stated as nothing.

    `line` is the row of the raw file; several lines can come from one. The period is half-open, in UTC. `quantity` is exact and in
    single units of `unit`; what was stated is kept where it was something else. An amount of a currency other than USD, and one
    finer than a nano-dollar, stands exactly in `amount_text`.
    """

    line: int
    starts_at: datetime
    ends_at: datetime
    vendor: str
    meter: Meter
    account: str | None = None
    project: str | None = None
    key_id: str | None = None
    region: str | None = None
    resource: str | None = None
    model: str | None = None
    tier: str | None = None
    is_batch: bool | None = None
    context_window: str | None = None
    quantity: int | Decimal | None = None
    unit: str | None = None
    stated_quantity: str | None = None
    stated_unit: str | None = None
    requests: int | None = None
    amount_nanousd: int | None = None
    amount_text: str | None = None
    list_amount_nanousd: int | None = None
    currency: str | None = None
    charge: Charge = "usage"
    is_correction: bool = False
    invoice_id: str | None = None
    invoice_issuer: str | None = None
    native_id: str | None = None
    text: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.starts_at >= self.ends_at:
            raise StatementError(f"its period ends at {self.ends_at}, which is not after {self.starts_at}", self.line)
        # A count of ours is never negative; of what only the vendor knows, some state negative usage.
        takes_back = self.is_correction or self.charge != "usage" or self.meter in {"credit", "other"}
        if self.quantity is not None and self.quantity < 0 and not takes_back:
            raise StatementError(f"{self.meter} would be {self.quantity}, less than nothing", self.line)
        if self.requests is not None and self.requests < 0 and not takes_back:
            raise StatementError(f"{self.requests} requests are less than none", self.line)
        if len(self.tags) > MAX_TAGS:
            raise StatementError(f"{len(self.tags)} tags, at most {MAX_TAGS} are kept", self.line)
        for one in (*(getattr(self, name) for name in _TEXTS), *self.tags, *self.tags.values()):
            if one is not None and not _can_be_kept(one):
                raise StatementError(
                    f"a text is longer than {MAX_TEXT:,} characters, or is not Unicode without NUL", self.line
                )

    @property
    def exact_amount(self) -> Decimal | None:
        """The amount in its currency as it was stated, without any rounding."""
        if self.amount_text is not None:
            return Decimal(self.amount_text)
        return None if self.amount_nanousd is None else Decimal(self.amount_nanousd).scaleb(-9)


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about a statement that a person should know: the first row it is about, and how many rows there are."""

    text: str
    line: int | None
    rows: int


@dataclass(frozen=True, slots=True)
class MeterTotal:
    """What the lines of one meter come to. None where no line states it."""

    lines: int
    quantity: Decimal | None
    amount_nanousd: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a person says about a statement that it does not say itself.

    `rates` are dollars for one unit of another currency. `only` are products or services; the rows of others are left out and
    counted. `mapping` is the text of a mapping file, for generic CSV. `grouped_by` are fields by which a report was asked to keep
    results apart, so that null in one of them is somebody; without it those count that any result states.
    """

    vendor: str | None = None
    account: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    currency: str | None = None
    rates: Mapping[str, Decimal] = field(default_factory=dict)
    only: tuple[str, ...] = ()
    mapping: str | None = None
    grouped_by: tuple[str, ...] = ()
    is_final: bool = False

    def __post_init__(self) -> None:
        for one in (self.vendor, self.account, self.currency, *self.only):
            if one is not None and not _can_be_kept(one):
                raise StatementError("what was said about it is too long, or is not Unicode without NUL")

    def kept(self) -> dict[str, Any]:
        """JSON-able form, by which the same bytes can be read again as they were."""
        return {
            "vendor": self.vendor,
            "account": self.account,
            "since": None if self.since is None else self.since.isoformat(),
            "until": None if self.until is None else self.until.isoformat(),
            "currency": self.currency,
            "rates": {name: format(rate, "f") for name, rate in sorted(self.rates.items())},
            "only": list(self.only),
            "mapping": self.mapping,
            "grouped_by": list(self.grouped_by),
            "is_final": self.is_final,
        }

    @classmethod
    def from_kept(cls, kept: Mapping[str, Any]) -> "Options":
        """The options of that form."""
        moments = {
            name: None if kept[name] is None else datetime.fromisoformat(kept[name]) for name in ("since", "until")
        }
        return cls(
            vendor=kept["vendor"],
            account=kept["account"],
            currency=kept["currency"],
            rates={name: Decimal(rate) for name, rate in kept["rates"].items()},
            only=tuple(kept["only"]),
            mapping=kept["mapping"],
            grouped_by=tuple(kept["grouped_by"]),
            is_final=kept["is_final"],
            **moments,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A statement as it was read, without its lines: what it is of, and what its rows and lines come to.

    `amounts` is the exact sum by currency over the rows of the raw file, which is also that over the lines. `rows_left_out` and
    `amounts_left_out` are of rows that `Options.only` keeps out.
    """

    vendor: str
    source: str
    account: str
    since: datetime
    until: datetime
    is_complete: bool
    rows: int
    lines: int
    lines_sha256: bytes
    amounts: Mapping[str, Decimal]
    amount_nanousd: int | None
    meters: Mapping[Meter, MeterTotal]
    rows_left_out: int
    amounts_left_out: Mapping[str, Decimal]
    remarks: tuple[Remark, ...]


def _can_be_kept(text: str) -> bool:
    """Whether the database can: no NUL, no half of a pair of code units."""
    if len(text) > MAX_TEXT or "\0" in text:
        return False
    return text.isascii() or _HALF.search(text) is None
