"""Statements with damage in them: what comes of any bytes is lines or one error, and lines that the database can keep."""

import contextlib
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.reconcile.statements.formats import FORMATS
from remit.reconcile.statements.model import Options, StatementError
from remit.testing.vendor_reports.anthropic import anthropic_analytics_costs, anthropic_costs, anthropic_usage
from remit.testing.vendor_reports.books import BookRow, exact_json
from remit.testing.vendor_reports.clouds import aws_cur2, azure_cost_details, focus, google_export
from remit.testing.vendor_reports.openai import openai_costs, openai_usage
from remit.testing.vendor_reports.openrouter import openrouter_activity
from tests.reconcile.books import SINCE, read

BOOKS = [
    BookRow(
        at=SINCE + timedelta(hours=hours),
        model="gpt-6-astra",
        used={"input": 100, "cache_read": 7, "output": 3},
        costs_nanousd={"input": 1_000, "cache_read": 5, "output": 123_456_789},
    )
    for hours in (1, 30)
]
UNTIL = SINCE + timedelta(days=2)


def page(data: list[Any]) -> bytes:
    return exact_json({"data": data, "has_more": False, "next_page": None})


WHOLE = {
    "openai.costs": page(openai_costs(BOOKS, SINCE, UNTIL, ["project_id", "line_item"])),
    "openai.usage_completions": page(openai_usage(BOOKS, SINCE, UNTIL, ["model", "batch"])),
    "anthropic.usage_messages": page(anthropic_usage(BOOKS, SINCE, UNTIL, ["model", "api_key_id"])),
    "anthropic.cost_report": page(anthropic_costs(BOOKS, SINCE, UNTIL, ["workspace_id", "description"])),
    "anthropic.analytics_cost": page(anthropic_analytics_costs(BOOKS, SINCE, UNTIL, ["model", "token_type"])),
    "openrouter.activity": page(openrouter_activity(BOOKS, SINCE)),
    "aws.cur2": aws_cur2(BOOKS),
    "azure.cost_details": azure_cost_details(BOOKS),
    "google.billing_export": google_export(BOOKS),
    "focus": focus(BOOKS),
}
PIECES = st.sampled_from(
    [b"", b"null", b"-1", b"1e99", b'"', b"{}", b"[]", b"true", b"\\ud800", b"\xff", b",", b"\n", b"0", b"NaN", b"9" * 50, b"2026-11-31", b"{"]
)  # fmt: skip


@pytest.mark.parametrize("source", WHOLE)
@settings(max_examples=40)
@given(damages=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 12), PIECES), min_size=1, max_size=4))
def test_damage_is_an_error_or_harmless(source: str, damages: list[tuple[int, int, bytes]]) -> None:
    """Parts of a statement replaced by anything: no other exception, no negative count, sums that still agree."""
    content = WHOLE[source]
    for at, length, piece in damages:
        start = at % len(content)
        content = content[:start] + piece + content[start + length :]
    with contextlib.suppress(StatementError):
        summary, lines = read(content, source, Options(currency="USD"))
        assert summary.lines == len(lines)
        assert all(line.quantity is None or line.quantity >= 0 for line in lines if line.meter in {"input", "output"})


def test_every_format_has_a_whole_statement_or_shares_its_reader() -> None:
    """What is not damaged here is read by code that is."""
    shared = (
        "openai.usage_",
        "aws.focus",
        "azure.focus",
        "google.focus",
        "csv",
        "openrouter.generations",
        "anthropic.analytics_usage",
    )
    assert {one for one in FORMATS if one not in WHOLE and not one.startswith(shared)} == set()
    for source, content in WHOLE.items():
        assert read(content, source)[0].lines > 0
