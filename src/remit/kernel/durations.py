"""Durations as people write them: `90s`, `15m`, `12h`, `7d`."""

import re
from typing import Final

MAX_DURATION_SECONDS: Final = 36_525 * 86_400
"""A hundred years: whatever is added to today still has a date."""

_DURATION = re.compile(r"([1-9][0-9]{0,9})([smhd])")
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class InvalidDurationError(ValueError):
    """The text is not a whole number of seconds, minutes, hours or days within a hundred years."""


def parse_duration(text: str) -> int:
    """Seconds, at least one, of a whole number and its unit. Raises InvalidDurationError."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise InvalidDurationError(f"`{text}` is not a duration such as `90s`, `15m`, `12h` or `7d`")
    seconds = int(found[1]) * _UNIT_SECONDS[found[2]]
    if seconds > MAX_DURATION_SECONDS:
        raise InvalidDurationError(f"`{text}` is longer than a hundred years")
    return seconds
