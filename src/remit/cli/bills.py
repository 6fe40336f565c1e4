"""Bills as they are given on the command line."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeVar, get_args

from cyclopts import Parameter

from remit.cli.codes import CommandError

if TYPE_CHECKING:
    from remit.ledger.months import Bill, BillLine

_T = TypeVar("_T")
_CURRENCY = re.compile(r"(?!USD)([A-Z]{3})@([0-9]{1,9}(?:[.][0-9]{1,12})?)")


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Bills:
    """What a vendor billed for a month."""

    bill: Annotated[
        tuple[str, ...],
        Parameter(help="What it billed for the month, as INVOICE=AMOUNT, such as INV-7=1204.55; repeatable."),
    ] = ()
    bill_line: Annotated[
        tuple[str, ...],
        Parameter(
            help="What of a bill is not usage, as INVOICE:KIND=AMOUNT; KIND is tax, credit, purchase, adjustment, platform_fee or"
            " rounding. Repeatable."
        ),
    ] = ()
    bill_in: Annotated[
        tuple[str, ...],
        Parameter(
            help="The currency of a bill that is not in dollars, and its dollars for one unit, as INVOICE=EUR@1.0831; the amounts given are"
            " in dollars at that rate. Repeatable."
        ),
    ] = ()
    bill_from: Annotated[
        tuple[str, ...],
        Parameter(help="Who issued a bill, if not the vendor, such as a marketplace, as INVOICE=NAME; repeatable."),
    ] = ()

    def of(self, vendor: str) -> "list[Bill]":
        """The bills of a vendor. Raises CommandError for what is none."""
        from remit.ledger.months import Bill

        totals = _once("--bill", (_amount(text, "--bill", "INVOICE=AMOUNT") for text in self.bill))
        lines: dict[str, list[BillLine]] = {invoice: [] for invoice in totals}
        for invoice, line in _lines(self.bill_line):
            lines[_known("--bill-line", invoice, totals)].append(line)
        stated = _once("--bill-in", _named("--bill-in", self.bill_in))
        currencies = {_known("--bill-in", invoice, totals): _currency(value) for invoice, value in stated.items()}
        issuers = _once("--bill-from", _named("--bill-from", self.bill_from))
        for invoice in issuers:
            _known("--bill-from", invoice, totals)
        made = []
        for invoice, total in totals.items():
            currency, rate = currencies.get(invoice, ("USD", None))
            made.append(
                Bill(
                    vendor=vendor,
                    invoice_id=invoice,
                    total_nanousd=total,
                    issuer=issuers.get(invoice),
                    currency=currency,
                    rate=rate,
                    lines=tuple(lines[invoice]),
                )
            )
        return made


def _lines(texts: Iterable[str]) -> "Iterable[tuple[str, BillLine]]":
    from remit.ledger.months import BillKind, BillLine

    kinds: dict[str, BillKind] = {str(one): one for one in get_args(BillKind)}
    for text in texts:
        name, amount = _amount(text, "--bill-line", "INVOICE:KIND=AMOUNT")
        invoice, _, kind = name.rpartition(":")
        if kind not in kinds:
            raise CommandError(f"--bill-line: `{kind}` is none of {', '.join(kinds)}")
        yield invoice, BillLine(kind=kinds[kind], amount_nanousd=amount)


def _once(option: str, pairs: Iterable[tuple[str, _T]]) -> dict[str, _T]:
    """By invoice what is said of it; a second word on one is no correction of the first, as nobody can tell which holds."""
    found: dict[str, _T] = {}
    for invoice, value in pairs:
        if invoice in found:
            raise CommandError(f"{option}: `{invoice}` is given twice")
        found[invoice] = value
    return found


def _known(option: str, invoice: str, totals: dict[str, int]) -> str:
    if invoice not in totals:
        raise CommandError(f"{option}: `{invoice}` names no bill that was given")
    return invoice


def _named(option: str, texts: Iterable[str]) -> Iterable[tuple[str, str]]:
    for text in texts:
        name, _, value = text.partition("=")
        if not (name and value):
            raise CommandError(f"{option}: `{text}` names no invoice, or nothing of it")
        yield name, value


def _currency(text: str) -> tuple[str, str]:
    found = _CURRENCY.fullmatch(text)
    if found is None:
        raise CommandError(f"--bill-in: `{text}` is not of the form EUR@1.0831")
    return found[1], found[2]


def _amount(text: str, option: str, form: str) -> tuple[str, int]:
    from remit.kernel.money import parse_usd

    name, given, amount = text.rpartition("=")
    if not (given and name):
        raise CommandError(f"{option}: `{text}` is not of the form {form}")
    is_less = amount.startswith("-")
    try:
        value = parse_usd(amount.removeprefix("-"))
    except ValueError as error:
        raise CommandError(f"{option}: {error}") from None
    return name, -value if is_less else value
