"""Patterns of claims, against a simple oracle."""

import re

from hypothesis import given
from hypothesis import strategies as st

from remit.grants.workloads import ClaimPattern

TEXT = st.text("ab*:/.\n", max_size=12)


@given(TEXT, st.text("ab:/.\n*", max_size=16))
def test_a_pattern_matches_what_the_oracle_matches(pattern: str, value: str) -> None:
    """`*` is any run of characters, everything else is itself, and the whole value counts."""
    oracle = re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
    assert ClaimPattern(pattern).matches(value) == (oracle.fullmatch(value) is not None)
