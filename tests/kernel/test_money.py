"""Money: exact in, exact out, two roundings."""

from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal, localcontext

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from remit.kernel.money import (
    MAX_NANOUSD,
    InvalidAmountError,
    divide_half_even,
    format_usd,
    line_ceiling_nanousd,
    line_cost_nanousd,
    parse_usd,
)

AMOUNTS = st.integers(-MAX_NANOUSD, MAX_NANOUSD)
STATED = st.integers(0, MAX_NANOUSD)
UNITS = st.integers(0, 2**40)
PRICES = st.integers(0, 10**15)


def nano(amount: int) -> Decimal:
    with localcontext(prec=60):
        return Decimal(amount) / 10**9


@given(STATED)
@example(MAX_NANOUSD)
@example(0)
@example(1)
def test_what_is_shown_is_read_back(amount: int) -> None:
    """Every amount that can be stated survives being formatted and parsed."""
    text = format_usd(amount).replace(",", "").removeprefix("$")
    assert parse_usd(text) == amount
    assert len(text.partition(".")[2]) >= 2


@given(STATED)
def test_an_amount_is_plain_digits(amount: int) -> None:
    """With all its nine decimals an amount is that amount; in another notation it is none, and is quoted as it was written."""
    exact = nano(amount)
    assert parse_usd(f"{exact:.9f}") == amount
    for text in (
        f"{exact:E}",
        f" {exact:f}",
        f"${exact:f}",
        f"-{exact:f}",
        f"+{exact:f}",
        f"0{exact:f}",
        f"{exact:.10f}",
    ):
        with pytest.raises(InvalidAmountError) as refused:
            parse_usd(text)
        assert f"`{text}`" in str(refused.value)


@given(AMOUNTS, st.integers(0, 9))
def test_tables_round_half_even(amount: int, decimals: int) -> None:
    """With fewer decimals the text is within half a unit of the last one, and a tie goes to the even digit."""
    shown = Decimal(format_usd(amount, decimals=decimals).replace(",", "").replace("$", ""))
    with localcontext(prec=60):
        assert shown == nano(amount).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN)


@pytest.mark.parametrize(
    "text",
    ["", "x", "NaN", "Infinity", "-inf", "1e999999999", "1E-999999999", "0.0000000001", "1.5e-9", "9223372036.854775808",
     "1e13", "1" * 41, "$$1", "1 000", "sNaN", "1e3", "$5", "010", "1.", ".5", "1,000", "1_000", "-0", "\u0661\u0662", "1\n"],
)  # fmt: skip
def test_what_is_not_an_exact_amount_is_no_amount(text: str) -> None:
    """Inexact, infinite, too large or unreadable texts raise the one error, at once."""
    with pytest.raises(InvalidAmountError):
        parse_usd(text)


@given(st.text(max_size=50))
def test_any_text_is_an_amount_or_the_one_error(text: str) -> None:
    """Parsing answers a 64-bit integer from 0 or raises InvalidAmountError, nothing else."""
    try:
        amount = parse_usd(text)
    except InvalidAmountError:
        return
    assert 0 <= amount <= MAX_NANOUSD


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**12))
def test_division_is_half_even(numerator: int, denominator: int) -> None:
    """Integer division rounds as decimal arithmetic does, ties to even."""
    with localcontext(prec=80):
        assert divide_half_even(numerator, denominator) == (Decimal(numerator) / denominator).to_integral_value(
            ROUND_HALF_EVEN
        )


@given(st.integers(-(10**6), 10**6))
def test_ties_go_to_the_even_number(half: int) -> None:
    """Exactly between two integers, the even one is taken."""
    assert divide_half_even(2 * half + 1, 2) % 2 == 0


@given(UNITS, PRICES)
def test_a_ceiling_covers_its_cost_and_no_more_than_a_nano_dollar(units: int, price: int) -> None:
    """Holding rounds up, settling half-even: the ceiling is never below the cost and less than one above the product."""
    cost, ceiling = line_cost_nanousd(units, price), line_ceiling_nanousd(units, price)
    assert cost <= ceiling <= cost + 1
    with localcontext(prec=60):
        assert ceiling == (Decimal(units) * price / 1_000_000).to_integral_value(ROUND_CEILING)
        assert cost == (Decimal(units) * price / 1_000_000).to_integral_value(ROUND_HALF_EVEN)


@given(UNITS, UNITS, PRICES)
def test_more_units_never_cost_less(few: int, more: int, price: int) -> None:
    """Cost and ceiling grow with the units, and a ceiling for more units covers the cost of fewer."""
    few, more = sorted((few, more))
    assert line_cost_nanousd(few, price) <= line_cost_nanousd(more, price) <= line_ceiling_nanousd(more, price)
