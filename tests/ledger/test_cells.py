"""What a report puts into a table that a spreadsheet opens."""

import pytest

from remit.ledger.cells import text_cell


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_what_a_spreadsheet_would_compute_is_text(start: str) -> None:
    """A value that begins like a formula begins with an apostrophe instead."""
    assert text_cell(f"{start}1+1") == f"'{start}1+1"


@pytest.mark.parametrize(("value", "cell"), [(None, ""), ("", ""), ("search", "search"), ("a=b", "a=b"), ("é", "é")])
def test_any_other_value_is_as_it_is(value: str | None, cell: str) -> None:
    """Nothing else is changed, and what is not known is empty."""
    assert text_cell(value) == cell
