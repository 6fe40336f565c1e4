"""Books in a vendor's shape come back as they were: every token, every request, every nano-dollar, in kinds that do not overlap."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.reconcile.statements.model import TOKEN_METERS, Options
from remit.testing.vendor_reports.anthropic import anthropic_analytics_costs, anthropic_costs, anthropic_usage
from remit.testing.vendor_reports.books import BookRow, exact_json
from remit.testing.vendor_reports.clouds import aws_cur2, azure_cost_details, focus, google_export
from remit.testing.vendor_reports.openai import openai_costs, openai_usage
from remit.testing.vendor_reports.openrouter import openrouter_activity
from tests.reconcile.books import SINCE, UNTIL, booked, by_meter, cost, money, read, rows

OPENAI = ("input", "cache_read", "cache_write", "input_audio", "output", "output_audio")
ANTHROPIC = ("input", "cache_read", "cache_write", "cache_write_1h", "output", "web_search")
FEW = settings(max_examples=25)


def page(data: list[Any]) -> bytes:
    return exact_json({"object": "page", "data": data, "has_more": False, "next_page": None})


@FEW
@given(rows=rows(OPENAI))
def test_openai_usage_is_split_into_disjoint_kinds(rows: list[BookRow]) -> None:
    """Input that includes what was cached becomes kinds whose sum is the vendor's total, and requests are counted once."""
    groups = ["project_id", "api_key_id", "model", "batch", "service_tier"]
    content = page(openai_usage(rows, SINCE, UNTIL, groups))
    summary, lines = read(content, "openai.usage_completions")
    found = by_meter(lines)
    assert found.pop("requests") == sum(row.requests for row in rows) == sum(line.requests or 0 for line in lines)
    assert found == booked(rows)
    assert summary.amounts == {} and summary.amount_nanousd is None and (summary.since, summary.until) == (SINCE, UNTIL)


@FEW
@given(
    rows=rows((*OPENAI, "web_search")),
    groups=st.sampled_from([("project_id", "line_item", "api_key_id"), ("line_item",), ()]),
)
def test_openai_costs_keep_every_nano_dollar(rows: list[BookRow], groups: tuple[str, ...]) -> None:
    """Whatever they are grouped by, the sum is the books'; by line item every kind has its own."""
    summary, lines = read(page(openai_costs(rows, SINCE, UNTIL, groups)), "openai.costs")
    assert money(lines) == cost(rows) == (summary.amount_nanousd or 0)
    assert summary.rows == summary.lines
    if groups:
        spent = {kind for row in rows for kind, amount in row.costs_nanousd.items()}
        assert {line.meter for line in lines} == spent
        assert {line.model for line in lines if line.meter in TOKEN_METERS} <= {row.model for row in rows}


@FEW
@given(rows=rows(ANTHROPIC))
def test_anthropic_usage_comes_back(rows: list[BookRow]) -> None:
    """Input is split there already, cache writes by how long they last."""
    groups = ["api_key_id", "workspace_id", "model", "service_tier", "context_window"]
    _, lines = read(page(anthropic_usage(rows, SINCE, UNTIL, groups)), "anthropic.usage_messages")
    assert by_meter(lines) == booked(rows)
    assert {line.is_batch for line in lines} <= {row.is_batch for row in rows}


@FEW
@given(rows=rows(ANTHROPIC))
def test_anthropic_costs_come_back_from_cents(rows: list[BookRow]) -> None:
    """Decimal texts in cents become exact nano-dollars, in both reports."""
    _, lines = read(page(anthropic_costs(rows, SINCE, UNTIL, ["workspace_id", "description"])), "anthropic.cost_report")
    assert money(lines) == cost(rows)
    items = anthropic_analytics_costs(rows, SINCE, UNTIL, ["api_key_id", "workspace_id", "model", "token_type"])
    options = Options(since=SINCE, until=UNTIL)
    summary, analysed = read(page(items), "anthropic.analytics_cost", options)
    assert money(analysed) == cost(rows) and {line.meter for line in analysed} == {line.meter for line in lines}
    assert summary.amount_nanousd == (cost(rows) if items else None)


@FEW
@given(rows=rows(("input", "cache_read", "output")))
def test_openrouter_activity_comes_back(rows: list[BookRow]) -> None:
    """Tokens, requests and dollars by day; it states no cached tokens, so they are input."""
    days = sorted({row.day for row in rows})
    content = b"\n".join(page(openrouter_activity(rows, day)) for day in days)
    _, lines = read(content, "openrouter.activity")
    found = by_meter(lines)
    assert found.pop("requests") == sum(row.requests for row in rows)
    assert found == booked(rows, {"cache_read": "input"}) and money(lines) == cost(rows)


CLOUDS: dict[str, tuple[Callable[[list[BookRow]], bytes], tuple[str, ...]]] = {
    "aws.cur2": (aws_cur2, ("input", "cache_read", "cache_write", "output")),
    "azure.cost_details": (azure_cost_details, ("input", "cache_read", "output")),
    "google.billing_export": (google_export, ("input", "cache_read", "output")),
    "aws.focus": (
        lambda rows: focus(rows, version="1.2", provider="AWS"),
        ("input", "cache_read", "cache_write", "output"),
    ),
    "focus": (focus, ("input", "cache_read", "cache_write", "output")),
    "google.focus": (lambda rows: focus(rows, version="1.0"), ("input", "cache_read", "cache_write", "output")),
}


@pytest.mark.parametrize("source", CLOUDS)
@settings(max_examples=12)
@given(data=st.data())
def test_exports_of_clouds_come_back(source: str, data: st.DataObject) -> None:
    """Thousands and millions are multiplied out, months are covered whole, the account of digits is a text."""
    make, kinds = CLOUDS[source]
    drawn = [row for row in data.draw(rows(kinds)) if row.used or row.costs_nanousd]
    if not drawn:
        return
    summary, lines = read(make(drawn), source)
    assert by_meter(lines) == booked(drawn)
    assert money(lines) == cost(drawn) == summary.amount_nanousd
    assert (summary.since, summary.until) == (SINCE, UNTIL) and not summary.is_complete
    assert {line.project for line in lines} <= {"proj-1", "123456789012"}
    assert {
        line.tags["team" if "focus" not in source and source != "aws.cur2" else line_tag(source)] for line in lines
    } == {"search"}


def line_tag(source: str) -> str:
    return "user_team" if source == "aws.cur2" else "team"
