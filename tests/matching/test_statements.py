"""Real statements of every kind that is read, matched with a ledger of the same calls."""

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from remit.kernel.money import line_cost_nanousd
from remit.reconcile.matching.cells import CellKey, LedgerCell, PricedLine, VendorCell
from remit.reconcile.matching.from_lines import vendor_cells
from remit.reconcile.matching.match import Matched, Settings, match_month
from remit.reconcile.matching.registry import Registered, Registry
from tests.matching.sides import PRICES

books = pytest.importorskip("remit.testing.vendor_reports.books")
formats = pytest.importorskip("remit.reconcile.statements.formats")
raw = pytest.importorskip("remit.reconcile.statements.raw")
model = pytest.importorskip("remit.reconcile.statements.model")
openai = pytest.importorskip("remit.testing.vendor_reports.openai")
anthropic = pytest.importorskip("remit.testing.vendor_reports.anthropic")
openrouter = pytest.importorskip("remit.testing.vendor_reports.openrouter")
clouds = pytest.importorskip("remit.testing.vendor_reports.clouds")

SINCE, UNTIL = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
PLAIN = ("input", "cache_read", "output")
WRITES = (*PLAIN, "cache_write")


def calls(kinds: Iterable[str], number: int = 90) -> list[Any]:
    """Some calls of November."""
    rng = random.Random(number)
    found = []
    for _ in range(number):
        used = {kind: rng.randrange(100, 9_000) for kind in kinds}
        found.append(
            books.BookRow(
                at=SINCE + timedelta(minutes=rng.randrange(30 * 24 * 60)),
                model=rng.choice(["gpt-6-astra", "claude-sonnet-4-5"]),
                used=used,
                costs_nanousd={kind: line_cost_nanousd(count, PRICES[kind]) for kind, count in used.items()},
                project=rng.choice(["proj-1", "proj-2"]),
                key_id=rng.choice(["key-1", "key-2"]),
            )
        )
    return found


def ledger(rows: Iterable[Any], vendor: str) -> list[LedgerCell]:
    """The ledger of the same calls."""
    found = []
    for row in rows:
        lines = tuple(
            PricedLine(kind, PRICES[kind], units, line_cost_nanousd(units, PRICES[kind]))
            for kind, units in row.used.items()
        )
        key = CellKey(
            vendor=vendor,
            account="main",
            project=row.project,
            key_id=row.key_id,
            deployment="d",
            model=row.model,
            tier="default",
            is_batch=False,
            region="us",
        )
        amount = sum(line.amount_nanousd for line in lines)
        found.append(LedgerCell(day=row.day.date(), key=key, requests=1, lines=lines, amount_nanousd=amount))
    return found


def read(content: bytes, source: str, **options: Any) -> list[Any]:
    return list(formats.lines_of(raw.pack([content]), source, model.Options(**options)))


def page(data: list[Any]) -> bytes:
    found: bytes = books.exact_json({"object": "page", "data": data, "has_more": False, "next_page": None})
    return found


def openai_cells(rows: list[Any], *groups: str) -> list[VendorCell]:
    who = ["project_id", "api_key_id", "model", "batch", "service_tier"]
    usage = read(page(openai.openai_usage(rows, SINCE, UNTIL, who)), "openai.usage_completions")
    return vendor_cells(usage, read(page(openai.openai_costs(rows, SINCE, UNTIL, list(groups))), "openai.costs"))


def anthropic_cells(rows: list[Any], *, analytics: bool) -> list[VendorCell]:
    who = ["api_key_id", "workspace_id", "model", "service_tier", "context_window"]
    usage = read(page(anthropic.anthropic_usage(rows, SINCE, UNTIL, who)), "anthropic.usage_messages")
    if analytics:
        items = anthropic.anthropic_analytics_costs(
            rows, SINCE, UNTIL, ["api_key_id", "workspace_id", "model", "token_type"]
        )
        return vendor_cells(usage, read(page(items), "anthropic.analytics_cost", since=SINCE, until=UNTIL))
    costs = anthropic.anthropic_costs(rows, SINCE, UNTIL, ["workspace_id", "description"])
    return vendor_cells(usage, read(page(costs), "anthropic.cost_report"))


def openrouter_cells(rows: list[Any]) -> list[VendorCell]:
    days = [SINCE + timedelta(days=number) for number in range(30)]
    pages = [page(openrouter.openrouter_activity([row for row in rows if row.day == day], day)) for day in days]
    return vendor_cells([], read(b"\n".join(pages), "openrouter.activity"))


KINDS: dict[str, tuple[tuple[str, ...], Callable[[list[Any]], list[VendorCell]]]] = {
    "openai, costs by key": (WRITES, lambda rows: openai_cells(rows, "project_id", "line_item", "api_key_id")),
    "openai, costs by project": (WRITES, lambda rows: openai_cells(rows, "project_id", "line_item")),
    "anthropic": ((*WRITES, "cache_write_1h"), lambda rows: anthropic_cells(rows, analytics=False)),
    "anthropic, analytics": ((*WRITES, "cache_write_1h"), lambda rows: anthropic_cells(rows, analytics=True)),
    "openrouter": (("input", "output"), openrouter_cells),
    "aws": (WRITES, lambda rows: vendor_cells([], read(clouds.aws_cur2(rows), "aws.cur2"))),
    "azure": (PLAIN, lambda rows: vendor_cells([], read(clouds.azure_cost_details(rows), "azure.cost_details"))),
    "google": (PLAIN, lambda rows: vendor_cells([], read(clouds.google_export(rows), "google.billing_export"))),
    "focus": (WRITES, lambda rows: vendor_cells([], read(clouds.focus(rows), "focus"))),
}


def compared(rows: list[Any], cells: list[VendorCell]) -> Matched:
    names = [("proj-1", "key-1"), ("proj-1", "key-2"), ("proj-2", "key-1"), ("proj-2", "key-2")]
    vendor = cells[0].key.vendor
    registry = Registry([Registered(vendor=vendor, deployment="d", project=p, key_id=k) for p, k in names])
    (found,) = match_month(ledger(rows, vendor), cells, [], Settings(month=date(2026, 11, 1), registry=registry))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_statement_of_the_same_calls_agrees(kind: str) -> None:
    """Whatever the vendor's form and grain, a statement of what the ledger has makes no finding."""
    kinds, cells_of = KINDS[kind]
    rows = calls(kinds)
    found = compared(rows, cells_of(rows))
    assert found.findings == ()
    assert found.bill_nanousd == found.ledger_nanousd > 0


@pytest.mark.parametrize(
    "kind", ["openai, costs by key", "openai, costs by project", "anthropic", "anthropic, analytics"]
)
def test_unknown_key_is_found_in_statements(kind: str) -> None:
    """A key that nobody registered is found, with its amount, also where costs do not name keys."""
    kinds, cells_of = KINDS[kind]
    rows = calls(kinds)
    strangers = [replace(row, key_id="key-of-mallory") for row in calls(kinds, 7)]
    found = compared(rows, cells_of(rows + strangers))
    amount = sum(sum(row.costs_nanousd.values()) for row in strangers)
    of_key = [one for one in found.findings if one.key.key_id == "key-of-mallory"]
    assert {one.cause.value for one in of_key} == {"shadow_use"} == {one.cause.value for one in found.findings}
    assert sum(one.amount_nanousd for one in of_key) == amount


@pytest.mark.parametrize("kind", KINDS)
def test_calls_that_nobody_has_are_a_question(kind: str) -> None:
    """What a statement has more, on a known key, is found at its amount in every form."""
    kinds, cells_of = KINDS[kind]
    rows = calls(kinds)
    found = compared(rows[1:], cells_of(rows))
    assert sum(one.amount_nanousd for one in found.findings) == sum(rows[0].costs_nanousd.values())
    assert {one.days for one in found.findings} == {(rows[0].day.date(),)}
