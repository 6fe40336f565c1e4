"""A vendor's statement lines as cells. Whatever has the fields of a `StatementLine` will do."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Final, Protocol

from remit.kernel.money import NANOUSD_PER_USD, divide_half_even
from remit.pricing.model import BATCH_TIER, DEFAULT_TIER, canonical_tier
from remit.reconcile.matching.cells import ALL, TOKEN_METERS, CellKey, Charge, Quantity, VendorCell

_NO_KEY: Final = "workbench"
_TTLS: Final = {"cache_write_1h": "1h"}


class Line(Protocol):
    """One count or amount of one period, as a statement's reader gives it."""

    @property
    def starts_at(self) -> datetime: ...
    @property
    def vendor(self) -> str: ...
    @property
    def meter(self) -> str: ...
    @property
    def account(self) -> str | None: ...
    @property
    def project(self) -> str | None: ...
    @property
    def key_id(self) -> str | None: ...
    @property
    def region(self) -> str | None: ...
    @property
    def model(self) -> str | None: ...
    @property
    def tier(self) -> str | None: ...
    @property
    def is_batch(self) -> bool | None: ...
    @property
    def context_window(self) -> str | None: ...
    @property
    def quantity(self) -> int | Decimal | None: ...
    @property
    def requests(self) -> int | None: ...
    @property
    def amount_nanousd(self) -> int | None: ...
    @property
    def amount_text(self) -> str | None: ...
    @property
    def list_amount_nanousd(self) -> int | None: ...
    @property
    def currency(self) -> str | None: ...
    @property
    def charge(self) -> Charge: ...
    @property
    def is_correction(self) -> bool: ...
    @property
    def invoice_issuer(self) -> str | None: ...
    @property
    def text(self) -> str | None: ...
    @property
    def tags(self) -> Mapping[str, str]: ...


class NoRateError(ValueError):
    """An amount is in a currency that no rate was given for; guessing one would hide what it makes."""


@dataclass(slots=True)
class _Sums:
    requests: int | None = None
    quantity: dict[str, Quantity] = field(default_factory=dict)
    amount: dict[str, Fraction] = field(default_factory=dict)
    listed: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Place:
    day: date
    key: CellKey
    context_window: str | None
    charge: Charge
    is_correction: bool
    issuer: str | None
    text: str | None


def vendor_cells(
    usage: Iterable[Line], costs: Iterable[Line], rates: Mapping[str, Fraction] | None = None
) -> list[VendorCell]:
    """The cells of one vendor's statements of a month: counts from its usage, amounts from its costs.

    Where there is no usage statement, counts are those of the costs too; where there is no cost statement, amounts are those of
    the usage, if it has any. Amounts are summed exactly and rounded once for each cell and meter. `rates` are dollars for one unit
    of another currency. Raises NoRateError.
    """
    counted, charged = list(usage), list(costs)
    sums: dict[_Place, _Sums] = {}
    for line in counted or charged:
        _count(sums.setdefault(_place(line), _Sums()), line)
    of_models = [line for line in counted if line.meter in TOKEN_METERS]
    for line in charged or counted:
        into = sums.setdefault(_place(line), _Sums())
        _charge(into, line, rates or {}, is_total=not _by_meter(charged or counted))
        if counted and of_models and line.meter not in TOKEN_METERS and line.meter not in {"requests", "other"}:
            _count_once(into, line, counted)
    return [
        VendorCell(
            day=place.day,
            key=place.key,
            requests=one.requests,
            quantity=one.quantity,
            amount_nanousd={meter: _rounded(amount) for meter, amount in one.amount.items()},
            list_amount_nanousd=one.listed,
            context_window=place.context_window,
            ttl=next((ttl for meter, ttl in _TTLS.items() if meter in one.quantity or meter in one.amount), None),
            charge=place.charge,
            is_correction=place.is_correction,
            issuer=place.issuer,
            text=place.text,
        )
        for place, one in sums.items()
    ]


def _place(line: Line) -> _Place:
    tier, is_batch = line.tier, line.is_batch
    if tier is not None:
        tier = canonical_tier(tier)
        if tier == BATCH_TIER:  # a batch is a way of processing, and the tier it is of is the default one
            tier, is_batch = DEFAULT_TIER, True
    no_key = line.key_id is None and line.tags.get("origin") == _NO_KEY
    keeps_text = line.charge != "usage" or line.meter not in TOKEN_METERS | {"requests"}
    return _Place(
        day=line.starts_at.astimezone(UTC).date(),
        key=CellKey(
            vendor=line.vendor,
            account=line.account,
            project=line.project,
            key_id="" if no_key else line.key_id,
            model=line.model,
            tier=tier,
            is_batch=is_batch,
            region=line.region,
        ),
        context_window=line.context_window,
        charge=line.charge,
        is_correction=line.is_correction,
        issuer=line.invoice_issuer,
        text=line.text if keeps_text else None,
    )


def _by_meter(lines: Sequence[Line]) -> bool:
    """Whether amounts are divided by what was used: some line of tokens has one."""
    return any(line.meter in TOKEN_METERS and _exact(line, None) is not None for line in lines)


def _count(into: _Sums, line: Line) -> None:
    if line.requests is not None:
        into.requests = (into.requests or 0) + line.requests
    if line.quantity is not None and line.meter != "requests":
        into.quantity[line.meter] = into.quantity.get(line.meter, 0) + _quantity(line.quantity)


def _count_once(into: _Sums, line: Line, counted: Sequence[Line]) -> None:
    """What a usage statement does not count at all, such as storage, is counted by its costs."""
    if line.quantity is not None and all(one.meter != line.meter for one in counted):
        into.quantity[line.meter] = into.quantity.get(line.meter, 0) + _quantity(line.quantity)


def _charge(into: _Sums, line: Line, rates: Mapping[str, Fraction], *, is_total: bool) -> None:
    amount = _exact(line, rates)
    # An amount for all tokens together stands on the line of requests, or on one that names a model and no meter.
    meter = ALL if is_total and line.model and line.meter in {"requests", "other"} else line.meter
    if amount is not None:
        into.amount[meter] = into.amount.get(meter, Fraction(0)) + amount
    if line.list_amount_nanousd is not None:
        into.listed[meter] = into.listed.get(meter, 0) + line.list_amount_nanousd


def _exact(line: Line, rates: Mapping[str, Fraction] | None) -> Fraction | None:
    """The amount in nano-USD, exactly; without rates, only whether there is one."""
    if line.amount_text is None:
        return None if line.amount_nanousd is None else Fraction(line.amount_nanousd)
    if rates is None or line.currency in {None, "USD"}:
        return Fraction(Decimal(line.amount_text)) * NANOUSD_PER_USD
    if line.amount_nanousd is not None:
        return Fraction(line.amount_nanousd)
    if line.currency not in rates:
        raise NoRateError(f"an amount is in {line.currency}, and no rate of it was given")
    return Fraction(Decimal(line.amount_text)) * NANOUSD_PER_USD * rates[line.currency or ""]


def _quantity(stated: int | Decimal) -> Quantity:
    exact = Fraction(stated)
    return exact.numerator if exact.denominator == 1 else exact


def _rounded(amount: Fraction) -> int:
    return divide_half_even(amount.numerator, amount.denominator)
