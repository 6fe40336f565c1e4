"""Limits as people write them: `500 usd per month`, `25 usd once`."""

import re
from typing import Final

from remit.grants.model import DIMENSIONS, LIMIT_PERIODS, Limit
from remit.kernel.decisions import Dimension
from remit.kernel.money import InvalidAmountError, parse_usd
from remit.kernel.periods import PeriodKind

_DIMENSIONS: Final[tuple[Dimension, ...]] = ("usd", "tokens", "requests")
_LIMIT_KEYS: Final[dict[str, tuple[Dimension, PeriodKind]]] = {
    f"{dimension} {'once' if period == 'once' else f'per {period}'}": (dimension, period)
    for dimension in _DIMENSIONS
    for period in LIMIT_PERIODS
}
_COUNT = re.compile(r"0|[1-9][0-9]{0,18}")
LIMIT_FORM = "such as `0.50 usd per day`, `200000 tokens per month` or `25 usd once`"


class InvalidLimitError(ValueError):
    """The text is not a limit; the message says why, and what one looks like."""


def parse_limit(text: str) -> Limit:
    """`AMOUNT DIMENSION per PERIOD`, or `AMOUNT DIMENSION once`. Raises InvalidLimitError."""
    words = text.split()
    if len(words) not in (3, 4):
        raise InvalidLimitError(f"`{text}` is not a limit, {LIMIT_FORM}")
    dimension, period = parse_limit_key(" ".join(words[1:]))
    try:
        amount = parse_usd(words[0]) if dimension == "usd" else _count(words[0])
    except InvalidAmountError as error:
        raise InvalidLimitError(f"the limit `{text}`: {error}") from None
    return Limit(dimension, amount, period)


def parse_limit_key(text: str) -> tuple[Dimension, PeriodKind]:
    """`DIMENSION per PERIOD`, or `DIMENSION once`. Raises InvalidLimitError."""
    found = _LIMIT_KEYS.get(" ".join(text.split()))
    if found is None:
        periods = ", ".join(LIMIT_PERIODS[:-1])
        detail = f"`{text}` does not say one of {', '.join(DIMENSIONS)} per {periods}, or once, {LIMIT_FORM}"
        raise InvalidLimitError(detail)
    return found


def _count(text: str) -> int:
    if not _COUNT.fullmatch(text):
        raise InvalidAmountError(f"`{text}` is not a whole number such as `200000`")
    return int(text)
