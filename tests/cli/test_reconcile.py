"""`remit reconcile`: statements from files and from vendors."""

import json
from collections.abc import Iterator
from contextlib import chdir
from datetime import UTC, date, datetime

import pytest

from remit.cli.session import open_authority
from remit.reconcile.comparison import Comparison, Drift, Reconciliation
from remit.testing.peers.reports import ADMIN_KEY, AnthropicReportsPeer, OpenAiReportsPeer
from remit.testing.vendor_reports.books import BookRow, exact_json
from remit.testing.vendor_reports.openai import openai_costs
from tests.cli.conftest import Cli, a_folder_with

GRANTS = """version: 1
grants:
  acme:
    owner: ada@acme.example
    class: production
    expires: 2099-01-01
"""
SINCE, UNTIL = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 4, tzinfo=UTC)


def row(cents: int, day: int = 2) -> BookRow:
    return BookRow(
        at=datetime(2026, 11, day, 9, tzinfo=UTC),
        model="gpt-6-astra",
        used={"input": 100, "output": 10},
        costs_nanousd={"input": cents * 10**7, "output": 10**7},
    )


@pytest.fixture(scope="module")
def remit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    with a_folder_with(GRANTS, tmp_path_factory.mktemp("reconcile")) as made:
        yield made


def write(remit: Cli, name: str, rows: list[BookRow]) -> None:
    groups = ["project_id", "line_item", "api_key_id"]
    page = {"object": "page", "data": openai_costs(rows, SINCE, UNTIL, groups), "has_more": False, "next_page": None}
    (remit.folder / name).write_bytes(exact_json(page))


def test_a_file_is_imported_listed_and_shown(remit: Cli) -> None:
    """Imported once, known the second time, its next version the third; its lines and its bytes can be had."""
    write(remit, "costs.json", [row(5)])
    out = remit.ok("reconcile", "import", "costs.json", "--from", "openai.costs", "--reason", "close").out
    assert "imported: stmt_" in out and "2026-11-01 until 2026-11-04, may still change" in out and "$0.06" not in out
    assert "2 rows, 2 lines, 0.06 USD" in out and "$0.05" in out
    first = out.split()[1].rstrip(",")
    assert f"known already: {first}" in remit.ok("reconcile", "import", "costs.json", "--from", "openai.costs").out
    write(remit, "later.json", [row(5), row(1, 3)])
    (later,) = remit.ok("reconcile", "import", "later.json", "--from", "openai.costs", "--final", "--json").json()[
        "statements"
    ]
    assert (later["version"], later["supersedes"], later["is_complete"], later["is_new"]) == (2, first, True, True)
    assert [one["id"] for one in remit.ok("reconcile", "statements", "--json").json()["statements"]] == [later["id"]]
    assert first in remit.ok("reconcile", "statements", "--all", "--from", "openai.costs").out
    assert remit.ok("reconcile", "statements", "--vendor", "nobody").out == "no statements\n"
    known = remit.ok("reconcile", "import", "later.json", "--from", "openai.costs").out
    assert f"known already: {later['id']}" in known and "until 2026-11-04, final" in known
    lines = [json.loads(line) for line in remit.ok("reconcile", "statement", later["id"], "--lines").out.splitlines()]
    assert sum(line["amount_nanousd"] for line in lines) == 8 * 10**7 and lines[0]["model"] == "gpt-6-astra"
    remit.ok("reconcile", "statement", first, "--raw", "out.json")
    assert (remit.folder / "out.json").read_bytes() == (remit.folder / "costs.json").read_bytes()
    assert "superseded" not in remit.ok("reconcile", "statement", first).out
    assert remit("reconcile", "statement", first, "--raw", "out.json").code == 2
    assert remit("reconcile", "statement", "stmt_never").code == 2


def test_what_is_no_statement_is_one_line(remit: Cli) -> None:
    """A file that is none, a wrong source, a bad rate, an overlap: what is wrong and, for a row, where; nothing is kept."""
    before = remit.ok("reconcile", "statements", "--all", "--json").json()
    (remit.folder / "bad.json").write_text(
        '{"data": [{"start_time": 1793491200, "end_time": 1793577600, "results": [{"object": "x"}]}]}'
    )
    for arguments, words in (
        (("bad.json", "--from", "openai.costs"), "line 1: its `object` is `x`"),
        (("bad.json", "--from", "acme.bills"), "there are openai.costs, "),
        (("none.json", "--from", "openai.costs"), "no such file"),
        (("bad.json", "--from", "csv"), "--mapping"),
        (("bad.json", "--from", "openai.costs", "--rate", "EUR"), "--rate `EUR`"),
        (("bad.json", "--from", "openai.costs", "--since", "soon"), "--since"),
    ):
        ran = remit("reconcile", "import", *arguments)
        assert ran.code == 2 and words in ran.err and len(ran.err.splitlines()) == 1, ran
    write(remit, "costs.json", [row(5)])
    period = ("--since", "2026-11-02", "--until", "2026-11-09")
    ran = remit("reconcile", "import", "costs.json", "--from", "openai.costs", "--account", "other")
    assert ran.code == 0
    ran = remit("reconcile", "import", "costs.json", "--from", "openai.costs", "--account", "other", *period)
    assert ran.code == 1 and "overlaps" in ran.err
    assert (
        len(remit.ok("reconcile", "statements", "--all", "--json").json()["statements"])
        == len(before["statements"]) + 1
    )


def test_a_statement_is_withdrawn(remit: Cli) -> None:
    """With a reason, once; it is shown as such, listed with --all only, and its bytes stay."""
    write(remit, "wrong.json", [row(5)])
    imported = ("reconcile", "import", "wrong.json", "--from", "openai.costs", "--account", "wrong", "--json")
    (made,) = remit.ok(*imported).json()["statements"]
    withdraw = ("reconcile", "withdraw", made["id"])
    assert "--reason says why" in remit(*withdraw).err
    assert "is withdrawn" in remit.ok(*withdraw, "--reason", "of another account").out
    shown = remit.ok("reconcile", "statement", made["id"]).out
    assert shown.startswith("withdrawn ") and "by tester@localhost: of another account" in shown
    assert made["id"] not in remit.ok("reconcile", "statements").out
    (line,) = [one for one in remit.ok("reconcile", "statements", "--all").out.splitlines() if made["id"] in one]
    assert line.endswith("withdrawn")
    again = remit(*withdraw, "--reason", "once more")
    assert again.code == 1 and "already_withdrawn" in again.err
    assert remit("reconcile", "withdraw", "stmt_never", "--reason", "r").code == 2
    (back,) = remit.ok(*imported).json()["statements"]
    assert (back["version"], back["supersedes"], back["is_new"]) == (2, made["id"], True)
    remit.ok("reconcile", "withdraw", back["id"], "--reason", "of another account")


def test_vendors_are_asked_with_the_key_of_the_settings(remit: Cli) -> None:
    """Reports become statements, asked again what has changed becomes the next version; without a key nothing is asked."""
    with OpenAiReportsPeer([row(5)]) as openai, AnthropicReportsPeer([row(5)]) as anthropic:
        (remit.folder / "pull.toml").write_text(
            f'[reconcile.vendors.openai]\nbase_url = "{openai.url}"\naccount = "org-9"\nkey_env = "ADMIN_KEY"\n'
            f'[reconcile.vendors.anthropic]\nbase_url = "{anthropic.url}"\nkey_file = "admin.key"\n'
        )
        period = ("--since", "2026-11-01", "--until", "2026-11-04")
        asked = ("reconcile", "pull", "openai", *period, "--config", "pull.toml", "--json")
        assert "ADMIN_KEY" in remit(*asked).err
        ran = remit.ok(*asked, ADMIN_KEY=ADMIN_KEY)
        made = {one["source"]: one for one in ran.json()["statements"]}
        assert made["openai.costs"]["amounts"] == {"USD": "0.06"} and made["openai.costs"]["account"] == "org-9"
        assert made["openai.usage_completions"]["meters"]["input"]["quantity"] == "100"
        assert "openai.usage_decisions" in ran.err and ADMIN_KEY not in ran.out + ran.err
        openai.books.append(row(2, 3))
        again = {one["source"]: one for one in remit.ok(*asked, ADMIN_KEY=ADMIN_KEY).json()["statements"]}
        assert (again["openai.costs"]["version"], again["openai.usage_images"]["is_new"]) == (2, False)
        (remit.folder / "admin.key").write_text(ADMIN_KEY)
        anthropic_asked = ("reconcile", "pull", "anthropic", *period, "--config", "pull.toml")
        (remit.folder / "admin.key").chmod(0o644)
        assert "0600" in remit(*anthropic_asked).err
        (remit.folder / "admin.key").chmod(0o600)
        assert remit.ok(*anthropic_asked).out.count("imported: stmt_") == 3
        wrong = remit(*asked, ADMIN_KEY="wrong-key-of-16-bytes")
        assert wrong.code == 2 and "answered 401" in wrong.err and "wrong-key" not in wrong.err
        assert remit(*asked[:-1], "--until", "2026-10-01", ADMIN_KEY=ADMIN_KEY).code == 2


def test_a_month_is_compared_from_the_command_line(remit: Cli) -> None:
    """What is found stands in a table, in JSON and in the list; what is proposed opens a ticket, and bills that are none are said."""
    asked = ("reconcile", "match", "--month", "2026-10", "--vendor", "openai")
    for arguments, words in (
        (("--bill", "INV-7"), "INVOICE=AMOUNT"),
        (("--bill", "INV-7=1e3"), "--bill"),
        (("--bill", "INV-7=10", "--bill-line", "INV-8:tax=1"), "names no bill"),
        (("--bill", "INV-7=10", "--bill-line", "INV-7:tip=1"), "platform_fee"),
        (("--bill", "INV-7=10", "--bill-in", "INV-7=EUR"), "EUR@1.0831"),
        (("--bill", "INV-7=10", "--bill-in", "INV-8=EUR@1.1"), "names no bill"),
        (("--bill", "INV-7=10", "--bill-from", "INV-7"), "names no invoice"),
        (("--bill", "INV-7=10", "--bill", "INV-7=11"), "--bill: `INV-7` is given twice"),
        (("--bill", "INV-7=10", "--bill-in", "INV-7=EUR@1.1", "--bill-in", "INV-7=EUR@1.2"), "given twice"),
        (("--bill", "INV-7=10", "--bill-from", "INV-7=A", "--bill-from", "INV-7=B"), "given twice"),
        (("--bill", "INV-7=10", "--accept", "magic"), "no cause"),
        ((), "neither a statement of the month nor a bill"),
    ):
        ran = remit(*asked, *arguments)
        assert ran.code in {1, 2} and words in ran.err, (arguments, ran)
    billed = ("--bill", "INV-7=10.07", "--bill-line", "INV-7:tax=1.07", "--bill-from", "INV-7=The Market")
    found = remit.ok(*asked, *billed, "--json").json()
    drift = {one["cause"]: one["amount_nanousd"] for one in found["findings"]}
    assert drift == {"marketplace": 9 * 10**9, "tax": 107 * 10**7}
    made = found["reconciliation"]
    assert (made["billed_nanousd"], made["ledger_nanousd"], made["proposed_nanousd"]) == (
        10_070_000_000,
        0,
        10_070_000_000,
    )
    shown = remit.ok("reconcile", "findings", made["id"]).out
    assert "marketplace" in shown and "$9.00" in shown and "adjustment" in shown
    assert made["id"] in remit.ok("reconcile", "list", "--month", "2026-10").out
    assert remit("reconcile", "findings", "rec_none").code == 2
    ran = remit("reconcile", "close", "--month", "2026-10", "--reason", "r")
    assert ran.code == 1 and "$10.07" in ran.err


def test_a_comparison_is_shown_in_words(remit: Cli) -> None:
    """The numbers of each meter, and what the price book and the ceilings should learn, read as text."""
    day = date(2023, 10, 1)
    price = {"what": "price", "vendor": "openai", "model": "gpt-6-astra", "meter": "output", "since": "2023-10-03"}
    ceiling = {"what": "ceiling", "vendor": "openai", "model": None, "cause": "reasoning_hidden", "requests": 1_200}
    one = Comparison(
        month=day,
        vendor="openai",
        statements=[],
        bills=[],
        ledger_nanousd=0,
        basis="",
        drift=[
            Drift(
                cause="price_error",
                outcome="adjustment",
                confidence="exact",
                first_day=day,
                last_day=day,
                about={},
                amount_nanousd=1,
                evidence={"quantity": {"input": "5", "output": "7"}, "requests": 3},
            )
        ],
        adjustments=[],
        feedback=[
            {**price, "ours_nanousd_per_million": 8 * 10**9, "theirs_nanousd_per_million": 10**10},
            {**price, "meter": "input", "ours_nanousd_per_million": None, "theirs_nanousd_per_million": 10**9},
            {**ceiling, "amount_nanousd": 15 * 10**8},
        ],
    )
    with chdir(remit.folder):
        kept = open_authority(None).reconciling().books.keep(one, {}, by="mo", reason="r", key="words")
    assert isinstance(kept, Reconciliation)
    assert remit.ok("reconcile", "findings", kept.id).out.splitlines()[-4:] == [
        "  price_error: quantity (input 5, output 7), requests 3",
        "  price: openai gpt-6-astra output is $10.00 a million since 2023-10-03, and the price book has $8.00",
        "  price: openai gpt-6-astra input is $1.00 a million since 2023-10-03, and the price book has none",
        "  ceiling: openai whatever model cost $1.50 more than its ceilings in 1,200 calls (reasoning_hidden)",
    ]


def test_a_vendor_nobody_knows_is_not_compared(remit: Cli) -> None:
    """A mistyped name is a mistake in the command, with the names there are, and leaves nothing that a month is closed with."""
    for name in ("opennai", "OpenAI"):
        asked = ("reconcile", "match", "--month", "2024-10", "--vendor", name, "--bill", "INV-7=1")
        ran = remit(*asked)
        words = f"vendor_unknown: `{name}` is no vendor of the settings, the ledger or a statement; known are "
        assert ran.code == 2 and words in ran.err and "openai" in ran.err.partition("known are")[2], ran
        assert remit(*asked, "--json").json()["problems"][0]["code"] == "vendor_unknown"
    assert remit.ok("reconcile", "list", "--month", "2024-10").out == "nothing was compared yet\n"
    (remit.folder / "vendors.toml").write_text(
        '[vendors.opennai]\nbase_url = "https://api.openai.com"\napi_key_env = "K"\n'
    )
    assert remit(*asked[:5], "opennai", *asked[6:], "--config", "vendors.toml").code == 1
    withdrawn = remit.ok(*asked[:5], "opennai").out
    assert "opennai 2024-10, ledger $0.00, no bill\n" in withdrawn and "0 findings" in withdrawn
    assert remit(*asked[:5], "opennai").code == 2, "there is nothing more to withdraw"
    remit.ok("reconcile", "close", "--month", "2024-10", "--reason", "r")
    (month,) = remit.ok("reconcile", "months", "--json").json()
    assert (month["totals"]["bills"], month["totals"]["vendors"]) == ([], {})


def test_a_month_is_closed_with_a_waiver_by_two_people(remit: Cli) -> None:
    """One admin alone has nobody to ask; of two of finance one asks and the other closes; what is set is one person's word."""
    bill = ("--vendor", "openai", "--bill", "INV-7=1204.55")
    assert remit("reconcile", "match", "--month", "2025-03", *bill).code == 1
    close = ("reconcile", "close", "--month", "2025-03", "--reason", "bills")
    assert "bill_differs" in remit(*close).err
    waived = (*close, "--waive", "difference:openai=case 4711")
    assert "nobody_to_ask" in remit(*waived).err
    for person in ("mo@acme.example", "bo@acme.example"):
        remit.ok("role", "grant", person, "finance")
    asked = remit.ok(*waived, "--actor", "mo@acme.example", "--json", "--idempotency-key", "k").json()
    assert (asked["state"], asked["assignees"], asked["kind"]) == ("open", ["bo@acme.example"], "books")
    assert "waives `difference` of openai, $1,204.55: case 4711" in remit.ok("ticket", "show", asked["id"]).out
    mine = remit("ticket", "approve", asked["id"], "--actor", "Mo@acme.example")
    assert mine.code == 1 and "nobody decides their own request" in mine.err
    assert "2025-03" not in remit.ok("reconcile", "months").out
    remit.ok("ticket", "approve", asked["id"], "--actor", "bo@acme.example")
    month = remit.ok("reconcile", "months", "--json").json()[-1]
    assert (month["status"], month["changed_by"]) == ("closed", "bo@acme.example")
    assert month["totals"]["waived_nanousd"] == 1_204_550_000_000
    again = remit.ok(*waived, "--actor", "mo@acme.example", "--json", "--idempotency-key", "k").json()
    assert (again["id"], again["replayed"]) == (asked["id"], True)
    (remit.folder / "waive.toml").write_text('[reconcile]\nwaive_usd = "1204.55"\n')
    assert remit("reconcile", "match", "--month", "2025-04", *bill).code == 1
    alone = (
        "reconcile",
        "close",
        "--month",
        "2025-04",
        "--waive",
        "difference:openai=small",
        "--config",
        "waive.toml",
    )
    assert "2025-04 is closed" in remit.ok(*alone).out
    (remit.folder / "waive.toml").write_text('[reconcile]\nwaive_usd = "much"\n')
    assert "`reconcile.waive_usd`" in remit(*alone).err
