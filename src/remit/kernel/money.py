"""Money is integer nano-USD; prices are integer nano-USD per million units.

One US dollar is 1_000_000_000 nano-USD. Amounts are signed 64-bit so that they fit a PostgreSQL `bigint`.
"""

from decimal import Decimal, InvalidOperation

NANOUSD_PER_USD = 1_000_000_000
UNITS_PER_PRICE = 1_000_000
MAX_NANOUSD = 2**63 - 1


class InvalidAmountError(ValueError):
    """The text or number is not an exact amount of nano-USD within 64 bits."""


def parse_usd(text: str) -> int:
    """Exact nano-USD of a decimal dollar text such as `0.10` or `1250`.

    Raises InvalidAmountError for anything inexact (more than nine decimals), not finite, or beyond 64 bits:
    an amount is never rounded on the way in.
    """
    if len(text) > 40:
        raise InvalidAmountError("amount is longer than 40 characters")
    try:
        value = Decimal(text.strip().removeprefix("$"))
    except InvalidOperation:
        raise InvalidAmountError(f"`{text}` is not a decimal amount of dollars") from None
    return decimal_to_nanousd(value)


def decimal_to_nanousd(value: Decimal) -> int:
    """Exact nano-USD of a Decimal number of dollars; raises InvalidAmountError where that is impossible."""
    # Bounding the exponent first keeps `1e999999999` from becoming a number with a billion digits.
    if not value.is_finite() or value.adjusted() > 12 or value.as_tuple().exponent < -60:  # type: ignore[operator]
        raise InvalidAmountError(f"`{value}` is not an amount of dollars within 64 bits")
    scaled = value * NANOUSD_PER_USD
    amount = int(scaled)
    if amount != scaled:
        raise InvalidAmountError(f"`{value}` is finer than a nano-dollar")
    if not -MAX_NANOUSD <= amount <= MAX_NANOUSD:
        raise InvalidAmountError(f"`{value}` is beyond 64 bits of nano-dollars")
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
