"""The bytes of an entry: one form, from columns, from a row and from a line; the vectors of the reference page."""

import json
import re
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.ledger.canonical import UnsealableError, decode_line, encode_entry, encode_row, id_of
from remit.ledger.merkle import leaf_hash

PAGE = Path(__file__).parents[2] / "docs/reference/ledger-format.md"
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(texts, values.filter(lambda value: value is not None)))
def test_the_form_is_that_of_sorted_json(entry: dict[str, Any]) -> None:
    """As the standard library writes it: keys sorted, nothing but the characters themselves, no white space."""
    kept = {name: value for name, value in entry.items() if name not in ("seq", "entry_hash")}
    wanted = json.dumps(kept, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    assert encode_entry(entry) == wanted
    assert decode_line(wanted) == kept


def test_columns_and_a_row_give_the_same_bytes() -> None:
    """A null column is as one that is not there; `seq` and `entry_hash` are left out; instants have six digits."""
    row = (
        '{"seq":7,"id":"entry_1","note":null,"amount_nanousd":9007199254740993,"held_at":"2026-06-01T12:00:00+00:00",'
        '"recorded_at":"2026-06-01T12:00:00.5+00:00","billing_month":"2026-06-01","entry_hash":"\\\\x00",'
        '"tags":{"b": null, "a": true, "aa": [1.0, -0]}}'
    )
    columns = {
        "id": "entry_1",
        "amount_nanousd": 9007199254740993,
        "held_at": datetime(2026, 6, 1, 14, tzinfo=timezone(timedelta(hours=2))),
        "recorded_at": datetime(2026, 6, 1, 12, 0, 0, 500_000, tzinfo=UTC),
        "billing_month": date(2026, 6, 1),
        "tags": {"aa": [1, 0], "a": True, "b": None},
        "trace_id": None,
        "seq": 7,
    }
    assert encode_row(row) == encode_entry(columns)
    assert b'"held_at":"2026-06-01T12:00:00.000000Z"' in encode_row(row)


@pytest.mark.parametrize(
    "value",
    [1.0, 0.5, 2**63, -(2**63) - 1, datetime(2026, 6, 1), b"x", {1: 2}, {"x": [1.5]}, "\ud800"],  # noqa: DTZ001
)
def test_what_has_no_form_is_refused(value: Any) -> None:
    """A float, an integer beyond 64 bits, an instant without a zone, a key that is not text, half a character."""
    with pytest.raises(UnsealableError):
        encode_entry({"x": value})


@pytest.mark.parametrize(
    "row",
    ['{"x":{"y":0.5}}', '{"x":1e400}', '{"x":1e-5}', "[]", "{", '{"held_at":"2026-06-01 12:00:00+00"}', '{"held_at":1}',
     '{"held_at":"infinity"}'],
)  # fmt: skip
def test_a_row_without_form_is_refused(row: str) -> None:
    """No number is rounded and no instant guessed."""
    with pytest.raises(UnsealableError):
        encode_row(row)


@pytest.mark.parametrize(
    "line", [b'{"b":1,"a":2}', b'{"a": 1}', b'{"a":1,"a":1}', b'{"a":1.0}', b'{"a":"\\u0061"}', b"\xff", b"1"]
)
def test_a_line_in_another_form_is_refused(line: bytes) -> None:
    """One entry is one sequence of bytes."""
    with pytest.raises(UnsealableError):
        decode_line(line)


def test_the_id_of_what_is_broken_is_not_known() -> None:
    """Looking for what to call an altered line never fails."""
    assert [id_of(line) for line in (b'{"id":"x"}', b'{"id":1}', b"[" * 100_000, b"\xff")] == ["x", None, None, None]


def test_the_vectors_of_the_page_hold() -> None:
    """Each entry of the reference page has the bytes and the leaf that stand there."""
    blocks = re.findall(
        r"```json\n(.*?)\n```\n\n```text\n(.*?)\n([0-9a-f]{64})\n```", PAGE.read_text(encoding="utf-8"), re.DOTALL
    )
    assert len(blocks) >= 3
    for row, line, leaf in blocks:
        assert encode_row(row) == line.encode()
        assert leaf_hash(line.encode()).hex() == leaf
