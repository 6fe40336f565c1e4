"""Durations: a whole number and a unit, and nothing else."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.kernel.durations import MAX_DURATION_SECONDS, InvalidDurationError, parse_duration

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@given(st.integers(1, 10**9), st.sampled_from(sorted(UNITS)))
def test_a_number_and_a_unit_are_seconds_or_too_long(count: int, unit: str) -> None:
    """Whatever is accepted is count times unit, and can be added to a date of this century."""
    seconds = count * UNITS[unit]
    if seconds > MAX_DURATION_SECONDS:
        with pytest.raises(InvalidDurationError, match="hundred years"):
            parse_duration(f"{count}{unit}")
    else:
        assert parse_duration(f"{count}{unit}") == seconds
        assert datetime(2099, 12, 31, tzinfo=UTC) + timedelta(seconds=seconds) > datetime(2099, 12, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["", "s", "0s", "-1s", "+1s", "01s", "1", "1.5h", "1 h", " 1h", "1h\n", "1H", "1w", "1h30m", "\u0661s", "9" * 99],
)
def test_anything_else_is_no_duration(text: str) -> None:
    """No sign, blank, fraction, leading zero, other unit or other script's digits."""
    with pytest.raises(InvalidDurationError, match="is not a duration such as"):
        parse_duration(text)
