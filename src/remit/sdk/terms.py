"""Amounts, limits and durations as programs write them; never a float."""

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final, cast

from remit.capabilities.model import LIMIT_PERIODS, UNIT_OF_DIMENSION, Limit, LimitPeriod
from remit.kernel.decisions import Dimension
from remit.kernel.durations import InvalidDurationError, parse_duration
from remit.kernel.money import InvalidAmountError, parse_usd
from remit.sdk.errors import CapabilityError

LIMIT_FORM: Final = "such as `0.50 usd once` or `200000 tokens per day`"
_COUNT = re.compile(r"0|[1-9][0-9]{0,18}")


def amount_nanousd(usd: str | int) -> int:
    """Nano-USD of a decimal text of dollars such as `0.50`, or of an integer, which is nano-USD already.

    Raises TypeError for anything else, a float before all: it cannot say most amounts exactly. CapabilityError
    (`terms_invalid`) for a text that is no amount.
    """
    if isinstance(usd, str):
        try:
            return parse_usd(usd)
        except InvalidAmountError as error:
            raise CapabilityError("terms_invalid", str(error)) from None
    return _integer(usd, 'write dollars as text, "0.50", or nano-dollars as an integer')


def _integer(value: object, advice: str) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is a {type(value).__name__}: {advice}")
    return value


def limits_of(
    usd: str | int | None, tokens: int | None, requests: int | None, per: str, more: Iterable[str | Limit]
) -> tuple[Limit, ...]:
    """The limits that are asked for. Raises TypeError and CapabilityError."""
    if per not in LIMIT_PERIODS:
        raise CapabilityError("terms_invalid", f"`{per}` is not one of {', '.join(LIMIT_PERIODS)}")
    period = cast(LimitPeriod, per)
    if isinstance(more, str | Limit):
        raise TypeError("`limits` is a list of limits, not one of them")
    found = [one if isinstance(one, Limit) else parse_limit(one) for one in more]
    if usd is not None:
        found.append(Limit("usd", amount_nanousd(usd), period))
    counts: tuple[tuple[Dimension, int | None], ...] = (("tokens", tokens), ("requests", requests))
    for dimension, count in counts:
        if count is not None:
            found.append(Limit(dimension, _integer(count, f"`{dimension}` is a whole number"), period))
    kinds = [(one.dimension, one.period) for one in found]
    for kind in kinds:
        if kinds.count(kind) > 1:
            per_period = "once" if kind[1] == "once" else f"per {kind[1]}"
            raise CapabilityError("terms_invalid", f"two limits of {kind[0]} {per_period}: give one")
    return tuple(found)


def parse_limit(text: str) -> Limit:
    """`AMOUNT DIMENSION per PERIOD`, or `AMOUNT DIMENSION once`, which may be left out. Raises CapabilityError."""
    words = text.split()
    period = "once" if words[2:] in ([], ["once"]) else words[3] if len(words) == 4 and words[2] == "per" else ""
    if (
        len(words) < 2
        or words[1] not in UNIT_OF_DIMENSION
        or period not in LIMIT_PERIODS
        or words[2:] == ["per", "once"]
    ):
        raise CapabilityError("terms_invalid", f"`{text}` is not a limit, {LIMIT_FORM}")
    dimension = cast(Dimension, words[1])
    if dimension == "usd":
        amount = amount_nanousd(words[0])
    elif _COUNT.fullmatch(words[0]):
        amount = int(words[0])
    else:
        raise CapabilityError("terms_invalid", f"`{words[0]}` is not a whole number such as `200000`")
    return Limit(dimension, amount, cast(LimitPeriod, period))


def seconds_of(ttl: str | int | timedelta) -> int:
    """Whole seconds of `90s`, `10m`, `2h`, `7d`, of a number of seconds, or of a timedelta. Raises as `amount_nanousd`."""
    if isinstance(ttl, timedelta):
        seconds = ttl // timedelta(seconds=1)
    elif isinstance(ttl, str):
        try:
            seconds = parse_duration(ttl)
        except InvalidDurationError as error:
            raise CapabilityError("terms_invalid", str(error)) from None
    else:
        seconds = _integer(ttl, 'write a time to live as text, "10m", or as whole seconds')
    if seconds < 1:
        raise CapabilityError("terms_invalid", "a time to live is at least one second")
    return seconds


def names_of(names: Iterable[str] | None, what: str) -> tuple[str, ...] | None:
    """Names without repeats; a text alone is a mistake that would become a list of letters. Raises TypeError."""
    if names is None:
        return None
    if isinstance(names, str):
        raise TypeError(f"`{what}` is a list of names, not one of them")
    listed: list[Any] = list(names)
    if not all(isinstance(name, str) for name in listed):
        raise TypeError(f"`{what}` is a list of names")
    return tuple(dict.fromkeys(listed))
