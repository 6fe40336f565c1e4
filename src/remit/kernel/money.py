"""Money is integer nano-USD; prices are integer nano-USD per million units.

One US dollar is 1_000_000_000 nano-USD. Amounts are signed 64-bit so that they fit a PostgreSQL `bigint`.
"""

import re

NANOUSD_PER_USD = 1_000_000_000
UNITS_PER_PRICE = 1_000_000
MAX_NANOUSD = 2**63 - 1

_DECIMALS = 9
_AMOUNT = re.compile(r"(0|[1-9][0-9]*)(?:\.([0-9]+))?")


class InvalidAmountError(ValueError):
    """The text or number is not an exact amount of nano-USD within 64 bits."""


def parse_usd(text: str) -> int:
    """Exact nano-USD of a dollar text such as `0.10` or `1250`: plain digits, and at most nine more after a point.

    Nothing else is an amount: no sign, symbol, exponent, blank, separator or leading zero (`010` is 8 to some readers).
    Raises InvalidAmountError, also beyond 64 bits: an amount is never rounded or guessed on the way in.
    """
    if len(text) > 40:
        raise InvalidAmountError("the amount is longer than 40 characters")
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise InvalidAmountError(f"`{text}` is not a decimal amount of dollars such as `1250` or `0.10`")
    whole, fraction = found[1], found[2] or ""
    if len(fraction) > _DECIMALS:
        raise InvalidAmountError(f"`{text}` is finer than a nano-dollar: at most nine decimals can be given")
    amount = int(whole + fraction.ljust(_DECIMALS, "0"))
    if amount > MAX_NANOUSD:
        raise InvalidAmountError(f"`{text}` is beyond 64 bits of nano-dollars")
    return amount


def format_usd(amount_nanousd: int, *, decimals: int = 9) -> str:
    """Dollar text of an amount, truncating nothing: trailing zeros go, at least two decimals stay.

    `decimals` below nine is for tables only; there the last digit is rounded half-even.
    """
    sign = "-" if amount_nanousd < 0 else ""
    quantum = 10 ** (9 - decimals)
    shown = divide_half_even(abs(amount_nanousd), quantum) * quantum
    whole, nano = divmod(shown, NANOUSD_PER_USD)
    fraction = f"{nano:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}${whole:,}.{fraction}"


def divide_half_even(numerator: int, denominator: int) -> int:
    """Integer quotient rounded half to even; the denominator is positive."""
    quotient, remainder = divmod(numerator, denominator)
    twice = remainder * 2
    if twice > denominator or (twice == denominator and quotient & 1):
        quotient += 1
    return quotient


def line_cost_nanousd(units: int, price_nanousd_per_million: int) -> int:
    """Cost of one settled line, rounded half-even once."""
    assert units >= 0 and price_nanousd_per_million >= 0
    return divide_half_even(units * price_nanousd_per_million, UNITS_PER_PRICE)


def line_ceiling_nanousd(units: int, price_nanousd_per_million: int) -> int:
    """Upper bound of one line's cost, rounded up once, for holding."""
    assert units >= 0 and price_nanousd_per_million >= 0
    return -(-units * price_nanousd_per_million // UNITS_PER_PRICE)
