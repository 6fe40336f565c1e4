"""Totals, budgets, statements and sheets over a real database, in which callers and vendors chose hostile words."""

import csv
import dataclasses
import io
import re
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from remit.cli.workbook import csv_tables, workbook
from remit.ledger.accounting import Adjustment, Bearer, Part, Transfer
from remit.ledger.months import Bill, Month
from remit.reports.budget import Used, budget_of
from remit.reports.coverage import coverage_of
from remit.reports.drawing import bars
from remit.reports.forecast import forecasts_of
from remit.reports.page import page
from remit.reports.sheet import Table, sheet_of
from remit.reports.statement import Held, Holding, Statement, _todo, cents_text, statement_of
from remit.reports.total import Span, calendar_span, total_of
from remit.reports.units import units_of
from remit.store.named import query
from remit.store.postgres_accounting import PostgresAccounting
from remit.store.postgres_bookings import PostgresBookings
from remit.store.postgres_rollups import Asked, PostgresRollups, _parameters
from tests.leases.trial import Trial, grant, usd
from tests.store.database import fresh_database

NOW = datetime(2026, 10, 28, 9, tzinfo=UTC)
KIM = "kim@acme.example"
EVIL = "<script>alert(1)</script>=\"'"
FORMULA = '=HYPERLINK("x")'
ENTRY = b"""
INSERT INTO entries (id, kind, amount_nanousd, grant_id, grant_path, node_ids, block_ids, class, owner, tags, vendor,
                     deployment, model_requested, model_served, usage, price_source, usage_source, tokens, requests, request_id,
                     operation_id, hold_id, policy_version, decision_id, attempt, held_at, recorded_at, periods, billing_month)
SELECT 'entry' || n, %(kind)s, %(amount)s + n %% 7 * %(amount)s / 10, g.id, g.path, path_ids(g.path), '{}', g.class, g.owner,
       %(tags)s, 'sim', 'd', %(model)s, %(model)s, '{"input_tokens": 600, "cache_read_tokens": 300, "output_tokens": 100}', 'test',
       'vendor', 1000, 1, 'r', 'o', 'hold' || n, 1, 'd', 1 + (n %% 10 = 0)::int, at, at, '[]', booked_month(at)
FROM generate_series(%(since)s::timestamptz, %(until)s::timestamptz, %(every)s::interval) WITH ORDINALITY AS s (at, k)
CROSS JOIN LATERAL (SELECT k + %(first)s AS n) AS numbered
JOIN grants AS g ON g.path = %(path)s
"""


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    """Nine weeks of calls of two owners; in October a credit, a transfer, a call in suspense, and a late one of September."""
    made = Trial(fresh_database())
    made.clock.instant = NOW
    root = made.write(grant("acme", limits=(usd(500 * 10**9, "month"),)))
    search = made.write(grant("search", root, owner=KIM, limits=(usd(40 * 10**9, "month"), usd(10**12, "quarter"))))
    lab = made.write(
        grant("lab", root, owner=KIM, limits=(usd(2 * 10**9, "month"),), grant_class="experimentation",
              expires_at=NOW + timedelta(days=9))
    )  # fmt: skip
    made.write(grant("other", root, owner=EVIL, limits=(usd(10**9, "month"),)))
    start = NOW - timedelta(days=63)
    for number, (path, model, tags, amount, every) in enumerate(
        (
            (search.path, "sim-large", '{"team": "search", "feature": "answers"}', 300_000_000, "6 hours"),
            (search.path, "sim-small", '{"team": "search"}', 20_000_001, "5 hours"),
            (lab.path, EVIL, '{"team": "=1+1"}', 12_345_678, "9 hours"),
            ("acme/other", FORMULA, "{}", 5, "31 hours"),
        )
    ):
        values = {"kind": "usage", "amount": amount, "tags": tags, "model": model, "since": start, "until": NOW,
                  "every": every, "first": number * 10_000, "path": path}  # fmt: skip
        made.looking.execute(ENTRY, values)
    at = {"since": NOW - timedelta(hours=30), "until": NOW - timedelta(hours=30), "every": "1 hour"}
    doubt = {"kind": "suspense", "amount": 1_500_000_000, "tags": "{}", "model": "sim-large", "path": search.path}
    made.looking.execute(ENTRY, {**at, **doubt, "first": 90_005})
    books = PostgresAccounting(made.care._connect, made.clock)
    credit = Adjustment(
        grant_id=search.id, vendor="sim", amount_nanousd=-2_250_000_000, held_at=NOW - timedelta(days=8), cause="credit",
        note=f"outage {EVIL}",
    )  # fmt: skip
    move = Transfer(
        id="t1", held_at=NOW - timedelta(days=8), sources=[(Bearer(grant_id=root.id), 3_000_000_000)],
        parts=[
            Part(bearer=Bearer(grant_id=search.id), amount_nanousd=2_000_000_000),
            Part(bearer=Bearer(grant_id=lab.id), amount_nanousd=1_000_000_000),
        ],
        rule="shared platform", method="by use",
    )  # fmt: skip
    books.post([credit, move], by="fin@acme.example", reason="r", key="k", source="command")
    PostgresRollups(made.care._connect).fold()
    yield made
    made.close()


def october() -> Span:
    return calendar_span("month", NOW)


def test_a_total_reads_no_entry(trial: Trial) -> None:
    """Of a quarter, a year and what they are compared with: once entries are in the sums, only sums are read."""
    trial.looking.execute("ANALYZE")

    class Recording:
        asked: list[Asked] = []  # noqa: RUF012 - one for one test

        def report(self, by: Any, since: Any, until: Any, only: Any = None) -> Any:
            self.asked.append(Asked(since, until, None, only))
            return trial.ledger.report(by, since, until, only)

        def total_nanousd(self, since: Any, until: Any) -> int:
            self.asked.append(Asked(since, until))
            return trial.ledger.total_nanousd(since, until)

    total_of(Recording(), calendar_span("quarter", NOW), NOW)  # type: ignore[arg-type]
    assert len(Recording.asked) == 3
    for asked in Recording.asked:
        values = {"by": ["class", "vendor"], **_parameters(trial.looking, asked)}
        for name in ("ledger_report", "ledger_total"):
            explained = b"EXPLAIN (ANALYZE, FORMAT JSON) " + query(name)
            ((plan,),) = trial.looking.execute(explained, values).fetchall()
            assert _read(plan[0]["Plan"], "entries") <= 2


def _read(node: dict[str, Any], relation: str) -> int:
    own = node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Filter", 0)
    below = sum(_read(one, relation) for one in node.get("Plans", ()))
    return int(below + (own if node.get("Relation Name") == relation else 0))


def test_a_total_is_the_ledgers(trial: Trial) -> None:
    """By class and by vendor it adds up; the month before is whole, and to date it has as many days."""
    found = total_of(trial.ledger, october(), NOW)
    assert found.sums.amount_nanousd == trial.ledger.total_nanousd(october().since, october().until) > 0
    for rows in (found.by_class, found.by_vendor):
        assert sum(row.amount_nanousd for row in rows) == found.sums.amount_nanousd
    september = Span(datetime(2026, 9, 1, tzinfo=UTC), october().since)
    assert found.previous == september
    assert found.previous_nanousd == trial.ledger.total_nanousd(september.since, september.until)
    assert found.previous_to_date == Span(september.since, datetime(2026, 9, 29, tzinfo=UTC))
    assert found.previous_to_date_nanousd is not None and 0 < found.previous_to_date_nanousd < found.previous_nanousd
    assert found.sums.suspense_nanousd == 1_500_000_000
    assert found.sums.booked_nanousd == -2_250_000_000
    assert total_of(trial.ledger, september, NOW).previous_to_date is None


def test_groups_are_forecast_and_add_up(trial: Trial) -> None:
    """What groups are charged so far is the total's; the sum of what is expected is near what is expected of the sum."""
    rows, whole = forecasts_of(trial.ledger, ("grant",), NOW)
    assert sum(row.to_date_nanousd for row in rows) == whole.to_date_nanousd
    assert whole.days == 56 and whole.low_nanousd is not None and whole.high_nanousd is not None
    assert whole.expected_nanousd is not None and whole.low_nanousd < whole.expected_nanousd < whole.high_nanousd
    expected = sum(row.expected_nanousd or 0 for row in rows if row.expected_nanousd is not None)
    # Who was charged a transfer only has no days, so that nothing of theirs can be expected.
    unknown = sum(row.to_date_nanousd for row in rows if row.expected_nanousd is None)
    assert abs(expected + unknown - whole.expected_nanousd) < 10 and unknown == -3_000_000_000


def test_units_are_what_vendors_stated(trial: Trial) -> None:
    """A third of all input came from caches, one call in ten was a retry, and credits make no call cheaper."""
    rows, whole = units_of(trial.ledger, ("model",), until=NOW - timedelta(days=7))
    assert whole.cache_hit_ppm == 333_333 and whole.output_per_input_ppm == 111_111
    assert whole.retry_ppm is not None and 90_000 < whole.retry_ppm < 110_000
    assert {row.group[0] for row in rows} >= {"sim-large", "sim-small", EVIL, FORMULA}
    assert sum(row.calls_nanousd for row in rows) == whole.calls_nanousd


def test_coverage_names_owners(trial: Trial) -> None:
    """What lacks a tag is named with its grant and owner."""
    found = coverage_of(trial.ledger, ("team",), october().since, october().until)
    assert {(one.grant, one.owner) for one in found.missing} >= {("acme/other", EVIL), ("acme/search", KIM)}
    assert found.charged_nanousd - found.unattributed_nanousd == found.by_tag[0].with_nanousd


def holding(trial: Trial) -> Holding:
    grants = [trial.grants[name] for name in ("grant_search", "grant_lab")]
    used = {("grant_search", "month", october().since): Used(39_000_000_000, 0),
            ("grant_lab", "month", october().since): Used(2_000_000_000, 5)}  # fmt: skip
    return Holding(
        owner=KIM,
        spellings=(KIM,),
        grants=tuple(Held(one.path, one.expires_at) for one in grants),
        budget=tuple(budget_of(trial.ledger, grants, used, NOW)),
    )


def test_a_budget_is_of_a_subtree(trial: Trial) -> None:
    """What is expected of a grant is what all below it spend; a limit that nobody used has spent nothing."""
    lines = {(one.path, one.period): one for one in budget_of(trial.ledger, trial.grants.values(), {}, NOW)}
    above, below = lines["acme", "month"], [lines[f"acme/{name}", "month"] for name in ("search", "lab", "other")]
    assert above.posted_nanousd == 0 and above.verdict == "fits" and above.expected_nanousd is not None
    assert abs(above.expected_nanousd - sum(one.expected_nanousd or 0 for one in below)) <= 10
    by_period = {(one.path, one.period): one.verdict for one in holding(trial).budget}
    assert by_period == {("acme/search", "month"): "will_exceed", ("acme/search", "quarter"): "fits",
                         ("acme/lab", "month"): "spent"}  # fmt: skip


@pytest.fixture(scope="module")
def statement(trial: Trial) -> Statement:
    return statement_of(trial.ledger, PostgresBookings(trial.url), holding(trial), october(), NOW)


def test_a_statement_adds_up(trial: Trial, statement: Statement) -> None:
    """Days, grants and models each come to the total, which is the ledger's of that owner and month."""
    total = statement.total.amount_nanousd
    only = {"owner": [KIM]}
    _, in_all = trial.ledger.report(("owner",), october().since, october().until, only)
    assert total == in_all > 0
    for rows in (statement.by_grant, statement.by_model):
        assert sum(row.amount_nanousd for row in rows) == total
    assert (
        sum(amount for _, amount in statement.days) + statement.earlier_nanousd == total and len(statement.days) == 31
    )
    assert sum(one.amount_nanousd for one in statement.bookings) == 750_000_000 == statement.total.booked_nanousd
    words = " ".join(statement.todo)
    for part in ("acme/lab has spent", "acme/search is expected to reach", "$1.50 is an upper bound", "no tag feature",
                 "repeated attempts", "acme/lab ends on 2026-11-06"):  # fmt: skip
        assert part in words


def test_less_than_a_cent_is_not_nothing(statement: Statement) -> None:
    """What is to be done about it reads as on the rest of the page."""
    little = dataclasses.replace(statement.total, suspense_nanousd=2_000_000)
    words = _todo(dataclasses.replace(statement, total=little), {"feature": 2_000_000}, ())
    assert [one.split(" ", 1)[0] for one in words if "upper bound" in one or "no tag" in one] == ["<$0.01", "<$0.01"]
    assert (cents_text(0), cents_text(10**7), cents_text(-2_000_000)) == ("$0.00", "$0.01", ">-$0.01")


class Page(HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_loads_and_runs_nothing(statement: Statement) -> None:
    """Whatever owners, models and notes are called, the page has no script, no link and no handler, and shows the words."""
    made = Page()
    html = page(statement)
    made.feed(html)
    assert EVIL in made.text and "<script" not in html and "=HYPERLINK" not in html
    assert not made.tags & {"script", "a", "img", "link", "iframe", "object", "form"}
    assert not [name for name, _ in made.attributes if name.startswith("on") or name in ("src", "href")]
    assert not re.findall(r"url\(|@import", html)
    assert [value for name, value in made.attributes if name == "xmlns"] == ["http://www.w3.org/2000/svg"]
    assert "$1.50" in made.text and "outage" in made.text and "shared platform by use" in made.text
    assert made.text.count("acme/search") >= 3


def test_a_statement_of_nothing_is_a_page_too(trial: Trial) -> None:
    """An owner without charges gets zeros where nothing was spent, and no number where nothing can be divided."""
    nobody = Holding(owner="nobody@acme.example", spellings=(), grants=(), budget=())
    made = statement_of(trial.ledger, PostgresBookings(trial.url), nobody, october(), NOW)
    assert (made.total.amount_nanousd, made.units.per_request_nanousd, made.todo) == (0, None, ())
    html = page(made)
    assert "$0.00" in html and "unknown" in html and "Nothing." in html and "NaN" not in html


def test_bars_are_drawn_within_the_picture() -> None:
    """Amounts above and below zero, one alone, and none: every bar lies inside the box and has its amount."""
    first = date(2026, 10, 1)
    for amounts in ([5 * 10**9, -2 * 10**9, 0, 7], [1], [0, 0], [-3], []):
        drawn = bars([(first + timedelta(days=n), amount) for n, amount in enumerate(amounts)], EVIL)
        assert EVIL not in drawn and drawn.count("<title>") == sum(amount != 0 for amount in amounts)
        for y, height in re.findall(r'<rect [^>]* y="([\d.]+)" [^>]*height="([\d.]+)"', drawn):
            assert Decimal(y) >= 0 and Decimal(y) + Decimal(height) <= 190


def tables(trial: Trial) -> list[Table]:
    bill = Bill(vendor="sim", invoice_id=FORMULA, total_nanousd=12_345_678_901_234_567, statement_id=None)
    totals = {"bills": [{"vendor": bill.vendor, "invoice_id": bill.invoice_id, "total_nanousd": bill.total_nanousd,
                         "statement_id": None}]}  # fmt: skip
    closed = Month(month=date(2026, 10, 1), status="closed", revision=1, changed_at=NOW, changed_by="f", reason="r",
                   totals=totals)  # fmt: skip
    return sheet_of(trial.ledger, PostgresBookings(trial.url), [closed], october())


def test_every_table_of_a_sheet_sums_to_the_month(trial: Trial) -> None:
    """Owners, grants, vendors and models come to what the summary says, in exact decimals."""
    made = {one.name: one for one in tables(trial)}
    assert list(made) == ["summary", "by owner", "by grant", "by vendor and model", "adjustments", "bills"]
    summary = dict(made["summary"].rows)
    total = Decimal(trial.ledger.total_nanousd(october().since, october().until)).scaleb(-9)
    assert summary["charged in US dollars"] == total and summary["status"] == "closed"
    for name in ("by owner", "by grant", "by vendor and model"):
        place = made[name].columns.index("charged_usd")
        assert sum(row[place] for row in made[name].rows) == total  # type: ignore[misc]


def read_workbook(content: bytes) -> dict[str, list[tuple[str, str]]]:
    """The cells of each sheet as (type, value); of a formula the type is `f`."""
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        space = {"m": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}
        texts = ["".join(part.itertext()) for part in ET.fromstring(packed.read("xl/sharedStrings.xml"))]
        names = [
            one.attrib["name"] for one in ET.fromstring(packed.read("xl/workbook.xml")).iterfind(".//m:sheet", space)
        ]
        found = {}
        for number, name in enumerate(names, start=1):
            cells = []
            for cell in ET.fromstring(packed.read(f"xl/worksheets/sheet{number}.xml")).iterfind(".//m:c", space):
                kind = "f" if cell.find("m:f", space) is not None else cell.attrib.get("t", "n")
                value = cell.findtext("m:v", "", space)
                cells.append((kind, texts[int(value)] if kind == "s" else value))
            found[name] = cells
    return found


def test_a_workbook_has_exact_amounts_and_no_formulas(trial: Trial) -> None:
    """An amount is a number where a spreadsheet keeps all of its digits, else text; what others chose is text in every cell."""
    made = tables(trial)
    found = read_workbook(workbook(made))
    assert list(found) == [one.name for one in made]
    assert {kind for cells in found.values() for kind, _ in cells} == {"n", "s"}
    assert found["bills"][-2:] == [("s", f"'{FORMULA}"), ("s", "12345678.901234567")]
    assert ("s", EVIL) in found["by owner"]
    amounts = [value for row in made[1].rows for value in row if isinstance(value, Decimal)]
    written = {Decimal(value) for kind, value in found["by owner"] if kind == "n"}
    assert amounts and set(amounts) <= written


def test_csv_has_the_same_tables(trial: Trial) -> None:
    """Below each other, with plain decimals, and no cell that a spreadsheet takes for a formula."""
    lines = list(csv.reader(io.StringIO(csv_tables(tables(trial)).decode(), newline="")))
    assert ["by vendor and model"] in lines and ["bills"] in lines
    assert lines[-1] == ["sim", f"'{FORMULA}", "", "12345678.901234567"]
    assert not [cell for line in lines for cell in line if cell[:1] in ("=", "+", "@")]


def test_what_a_workbook_cannot_hold_is_replaced() -> None:
    """A control character in a name does not stop the month."""
    made = read_workbook(workbook([Table("t", ("a",), (("x\x07y",),))]))
    assert made["t"] == [("s", "a"), ("s", "x\N{REPLACEMENT CHARACTER}y")]
