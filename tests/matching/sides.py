"""Both sides of small examples, written as a statement of account."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from remit.kernel.money import line_cost_nanousd
from remit.reconcile.matching.cells import CellKey, LedgerCell, Part, PartName, PricedLine, VendorCell
from remit.reconcile.matching.claims import Finding
from remit.reconcile.matching.match import Matched, Settings, match_month

MONTH = date(2026, 10, 1)
PRICES = {  # US dollars for a million, in nano-USD
    "input": 3_000_000_000,
    "cache_read": 300_000_000,
    "cache_write": 3_750_000_000,
    "cache_write_1h": 6_000_000_000,
    "output": 15_000_000_000,
    "reasoning": 15_000_000_000,
    "input_audio": 40_000_000_000,
}
KEY = CellKey(vendor="v", project="p", key_id="k", model="m")


def day(number: int) -> date:
    """A day of the month."""
    return MONTH.replace(day=number)


def ours(
    at: int,
    requests: int,
    units: Mapping[str, int],
    *,
    prices: Mapping[str, int] = PRICES,
    key: CellKey = KEY,
    parts: Mapping[PartName, Part] | None = None,
    more: tuple[PricedLine, ...] = (),
    **rest: Any,
) -> LedgerCell:
    """A cell of the ledger, priced."""
    lines = tuple(
        PricedLine(meter, prices[meter], count, line_cost_nanousd(count, prices[meter]))
        for meter, count in units.items()
    )
    total = sum(line.amount_nanousd for line in (*lines, *more))
    return LedgerCell(
        day=day(at),
        key=key,
        requests=requests,
        lines=(*lines, *more),
        amount_nanousd=total,
        parts=parts or {},
        grants=rest.pop("grants", {"grant_a": total}),
        **rest,
    )


def theirs(
    at: int,
    requests: int | None,
    units: Mapping[str, int],
    *,
    prices: Mapping[str, int] = PRICES,
    key: CellKey = KEY,
    **rest: Any,
) -> VendorCell:
    """A cell of the vendor, priced."""
    amounts = {meter: line_cost_nanousd(count, prices[meter]) for meter, count in units.items()}
    return VendorCell(
        day=day(at),
        key=key,
        requests=requests,
        quantity=units,
        amount_nanousd=rest.pop("amount_nanousd", amounts),
        **rest,
    )


def matched(ledger: list[LedgerCell], vendor: list[VendorCell], **settings: Any) -> Matched:
    """The one vendor's month."""
    (found,) = match_month(ledger, vendor, settings.pop("invoices", []), Settings(month=MONTH, **settings))
    return found


def findings(ledger: list[LedgerCell], vendor: list[VendorCell], **settings: Any) -> list[tuple[str, int]]:
    """Causes and amounts, the largest first."""
    return [(one.cause.value, one.amount_nanousd) for one in matched(ledger, vendor, **settings).findings]


def only(ledger: list[LedgerCell], vendor: list[VendorCell], **settings: Any) -> Finding:
    """The one finding."""
    (found,) = matched(ledger, vendor, **settings).findings
    return found
