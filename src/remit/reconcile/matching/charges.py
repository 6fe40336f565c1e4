"""The third pass: bills against cost lines, charge by charge, and the charges among the cost lines that are no usage."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from remit.reconcile.matching.cause import Cause
from remit.reconcile.matching.cells import CellKey, Invoice, InvoiceLine, Tolerance, VendorCell
from remit.reconcile.matching.claims import Claim

_REFUND: Final = re.compile(r"\b(refund\w*|credit[ -]?notes?|reimburse\w*|chargeback)\b", re.IGNORECASE)
_BILL: Final = "bill"
_BY_METER: Final = {
    "tax": Cause.TAX,
    "platform_fee": Cause.PLATFORM_FEE,
    "rounding": Cause.LINE_ROUNDING,
    "purchase": Cause.PREPAYMENT,
}
_BY_CHARGE: Final = {"tax": Cause.TAX, "purchase": Cause.PREPAYMENT}
_MOST_OF_FX: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is known of a vendor besides its statements: its tolerance, and by which names it bills itself."""

    tolerance: Tolerance
    issuers: frozenset[str]


def cause_of(one: VendorCell | InvoiceLine, month: date) -> Cause | None:
    """The cause of a charge that is no usage; None for usage. What nothing is known of is `unexplained`."""
    meters = set(one.amount_nanousd) if isinstance(one, VendorCell) else {one.meter or ""}
    named = {_BY_METER.get(meter) for meter in meters}
    if len(named) == 1 and (found := named.pop()) is not None:
        return found
    if one.charge in _BY_CHARGE:
        return _BY_CHARGE[one.charge]
    amount = one.total_nanousd if isinstance(one, VendorCell) else one.amount_nanousd
    takes_back = one.is_correction and amount < 0 and not (isinstance(one, VendorCell) and one.quantity)
    if one.charge == "usage" and not takes_back:
        return None
    if takes_back or _REFUND.search(one.text or ""):
        return Cause.REFUND
    if one.charge == "credit":
        earlier = isinstance(one, VendorCell) and one.day < month
        return Cause.BACKDATED_CREDIT if earlier else Cause.CREDIT
    return Cause.UNEXPLAINED


def cell_charges(cells: Iterable[VendorCell], month: date) -> Iterator[tuple[CellKey, Claim]]:
    """A claim for each cell that is no usage."""
    for cell in cells:
        cause = cause_of(cell, month)
        assert cause is not None
        key = CellKey(vendor=cell.key.vendor, account=cell.key.account, project=cell.key.project)
        amount = {(cell.day, meter): amount for meter, amount in cell.amount_nanousd.items()}
        yield key, Claim(cause=cause, amount=amount, evidence={"text": (cell.text or "")[:200]})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What the cost lines of a vendor come to: usage by issuer, and other charges by cause."""

    usage: dict[str | None, int]
    charges: dict[Cause, int]


def bill_charges(
    vendor: str, invoices: Sequence[Invoice], stated: Stated, month: date, terms: Terms
) -> Iterator[tuple[CellKey, Claim]]:
    """Claims for all by which the bills differ from the cost lines; together they are the whole difference."""
    key = CellKey(vendor=vendor)
    own = terms.issuers | {vendor}
    left = _by_issuer(stated.usage, own)
    billing = {_issuer(one.issuer, own) for one in invoices}
    if len(billing) == 1 and left.keys() == {""}:
        # Statements of the vendor, and whoever bills all of it adds its share.
        left = dict.fromkeys(billing, left[""])
    for issuer in sorted(billing | left.keys()):
        bills = [one for one in invoices if _issuer(one.issuer, own) == issuer]
        usage = sum(line.amount_nanousd for one in bills for line in one.lines if cause_of(line, month) is None)
        expected = left.get(issuer, 0)
        cause = _of_usage(bills, usage - expected, expected, is_own=not issuer, terms=terms)
        yield from _claim(key, cause, usage - expected, month, bills=bills, usage=usage)
        remainder = sum(one.total_nanousd - sum(line.amount_nanousd for line in one.lines) for one in bills)
        small = abs(remainder) <= _half_units(bills, terms)
        yield from _claim(
            key, Cause.LINE_ROUNDING if small else Cause.UNEXPLAINED, remainder, month, bills=bills, usage=usage
        )
    # A bill does not say of which month a credit is.
    known: dict[Cause, int] = {}
    for cause, amount in stated.charges.items():
        name = Cause.CREDIT if cause is Cause.BACKDATED_CREDIT else cause
        known[name] = known.get(name, 0) + amount
    charges = dict.fromkeys(known, 0)
    texts: dict[Cause, list[str]] = {}
    for invoice in invoices:
        for line in invoice.lines:
            if (found := cause_of(line, month)) is not None:
                charges[found] = charges.get(found, 0) + line.amount_nanousd
                texts.setdefault(found, []).append(line.text or "")
    billed = sum(line.amount_nanousd for one in invoices for line in one.lines if cause_of(line, month) is None)
    for found, amount in sorted(charges.items()):
        difference = amount - known.get(found, 0)
        yield from _claim(
            key, found, difference, month, bills=(), usage=billed, text="; ".join(texts.get(found, []))[:200]
        )


def _issuer(name: str | None, own: frozenset[str]) -> str:
    """All names of the vendor itself are one, the empty one."""
    return "" if name is None or name in own else name


def _by_issuer(usage: Mapping[str | None, int], own: frozenset[str]) -> dict[str, int]:
    """What cost lines come to by who bills them."""
    found: dict[str, int] = {}
    for name, amount in usage.items():
        issuer = _issuer(name, own)
        found[issuer] = found.get(issuer, 0) + amount
    return found


def _of_usage(bills: Sequence[Invoice], difference: int, expected: int, *, is_own: bool, terms: Terms) -> Cause:
    if not bills:
        return Cause.UNEXPLAINED
    if not is_own:
        return Cause.MARKETPLACE
    if abs(difference) <= _half_units(bills, terms):
        return Cause.LINE_ROUNDING
    converted = all(one.currency != "USD" and one.rate_text for one in bills)
    if converted and abs(difference) * _MOST_OF_FX <= abs(expected):
        return Cause.FX
    return Cause.UNEXPLAINED


def _half_units(bills: Sequence[Invoice], terms: Terms) -> int:
    return terms.tolerance.bill_unit_nanousd * max(sum(len(one.lines) for one in bills), 1) // 2


def _claim(
    key: CellKey, cause: Cause, amount: int, month: date, *, bills: Sequence[Invoice], usage: int, text: str = ""
) -> Iterator[tuple[CellKey, Claim]]:
    if not amount:
        return
    evidence: dict[str, str | int] = {"billed_usage_nanousd": usage}
    if bills:
        evidence["invoice"] = ", ".join(one.id for one in bills)[:200]
        evidence["issuer"] = bills[0].issuer
        if bills[0].rate_text:
            evidence |= {"currency": bills[0].currency, "rate": bills[0].rate_text}
    if text:
        evidence["text"] = text
    if cause is Cause.PLATFORM_FEE and usage > 0:
        evidence["basis_points_of_usage"] = amount * 10_000 // usage
    likely = cause in {Cause.FX, Cause.MARKETPLACE}
    yield (
        key,
        Claim(
            cause=cause,
            amount={(month, _BILL): amount},
            evidence=evidence,
            confidence="likely" if likely else "exact",
        ),
    )
