"""Exact numbers, amounts, units and instants from the texts of statements. Nothing here is ever a float."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation, localcontext
from typing import Final

from remit.kernel.money import MAX_NANOUSD, divide_half_even

_DECIMAL: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?")
_MAX_DIGITS: Final = 60
_NANO: Final = 9
# Wide enough for every number that is let in and every product of two; whatever would be rounded raises.
_EXACT: Final = Context(prec=400, traps=[InvalidOperation, Inexact])
# Nothing of a vendor's is of another time; the ends of the calendar belong to no zone.
_FIRST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(2200, 1, 1, tzinfo=UTC)
_UNIT: Final = re.compile(
    r"\s*(?:per\s+)?(?P<count>\d[\d,]*(?:\.\d+)?)?\s*(?P<scale>(?:[KM](?=[\s_-]|$))|thousand\b|million\b)?[\s_-]*(?P<unit>.*?)\s*",
    re.IGNORECASE,
)
_SCALES: Final = {"k": 1_000, "thousand": 1_000, "m": 1_000_000, "million": 1_000_000, "": 1}
_UNITS: Final = {
    "token": "tokens",
    "tokens": "tokens",
    "count": "count",
    "request": "requests",
    "requests": "requests",
    "calls": "requests",
    "queries": "requests",
    "image": "images",
    "images": "images",
    "character": "characters",
    "characters": "characters",
    "second": "seconds",
    "seconds": "seconds",
    "duration_seconds": "seconds",
    "duration_minutes": "minutes",
    "duration_hours": "hours",
    "hour": "hours",
    "hours": "hours",
    "minute": "minutes",
    "minutes": "minutes",
}


class InexactError(ValueError):
    """The text is no exact number, amount or instant."""


def parse_decimal(text: str, *, decimal_comma: bool = False) -> Decimal:
    """The number exactly as it is written. Raises InexactError.

    With `decimal_comma` a comma is the decimal mark and points group digits; without, commas are refused: `1,234` is one and a bit
    to some readers.
    """
    text = given = text.strip()
    if decimal_comma:
        whole, _, fraction = text.partition(",")
        if "." in whole and not re.fullmatch(r"[+-]?\d{1,3}(\.\d{3})+", whole):
            raise InexactError(f"`{given[:60]}` does not group its digits by points in threes")
        text = whole.replace(".", "") + (f".{fraction}" if fraction else "")
    if len(text) > _MAX_DIGITS or not _DECIMAL.fullmatch(text):
        form = "`12` or `1.234,05`" if decimal_comma else "`12` or `0.05`"
        raise InexactError(f"`{given[:60]}` is not a plain number such as {form}")
    return Decimal(text)


def plain(number: Decimal) -> str:
    """The number without an exponent, and without zeros that say nothing."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def times(one: Decimal, other: Decimal | int) -> Decimal:
    """The exact product."""
    with localcontext(_EXACT):
        return one * other


def plus(one: Decimal, other: Decimal) -> Decimal:
    """The exact sum."""
    with localcontext(_EXACT):
        return one + other


def count_of(number: Decimal) -> int | Decimal:
    """A whole number as an integer (`500000.0` is one), any other as it is."""
    return int(number) if number == number.to_integral_value() else number


def to_nanousd(dollars: Decimal) -> tuple[int, bool]:
    """Nano-USD, rounded half-even, and whether that is all there was. Raises InexactError beyond 64 bits."""
    sign, digits, exponent = dollars.as_tuple()
    assert isinstance(exponent, int), "infinities are not let in"
    whole, shift = int("".join(map(str, digits))), exponent + _NANO
    if shift >= 0:
        nano, is_exact = whole * 10**shift, True
    else:
        nano, is_exact = divide_half_even(whole, 10**-shift), whole % 10**-shift == 0
    if nano > MAX_NANOUSD:
        raise InexactError(f"{plain(dollars)} dollars are beyond 64 bits of nano-dollars")
    return (-nano if sign else nano), is_exact


def parse_unit(text: str) -> tuple[int, str]:
    """How many single units one of these is, and what they are called here: `1K Tokens` is (1000, "tokens")."""
    found = _UNIT.fullmatch(text)
    if found is None:
        return 1, text.strip()
    count, scale, unit = found["count"] or "1", (found["scale"] or "").lower(), found["unit"]
    if "." in count:
        return 1, text.strip()
    return int(count.replace(",", "")) * _SCALES[scale], _UNITS.get(unit.lower(), unit or "units")


def parse_instant(text: str) -> datetime:
    """An instant in UTC; a date or a time without an offset is in UTC, as vendors' exports state them. Raises InexactError."""
    cleaned = text.strip().removesuffix(" UTC").replace(" UTC", "")
    try:
        instant = datetime.fromisoformat(cleaned)
        return in_range(instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC))
    except (ValueError, OverflowError):
        raise InexactError(f"`{text[:40]}` is no instant such as 2026-11-03T14:00:00Z") from None


def parse_seconds(value: int) -> datetime:
    """An instant from seconds since 1970. Raises InexactError."""
    try:
        return in_range(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value))
    except (ValueError, OverflowError):
        raise InexactError(f"`{value}` seconds since 1970 are out of range") from None


def in_range(instant: datetime) -> datetime:
    """The instant, if it is of this century or the next. Raises InexactError."""
    if not _FIRST <= instant < _LAST:
        raise InexactError(f"`{instant.isoformat()}` is out of range")
    return instant


def next_month(instant: datetime) -> datetime:
    """The first instant of the month after."""
    year, month = divmod(instant.year * 12 + instant.month, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC)
