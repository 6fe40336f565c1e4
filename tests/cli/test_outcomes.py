"""`remit outcome`: the example of the page, files that cannot be read, and what is shown."""

import json
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from remit.cli.ticket_page import _evidence_lines
from remit.kernel.money import parse_usd
from remit.store.connect import connect
from remit.store.embedded import start_embedded
from tests.cli.conftest import Cli, a_folder_with

PAGE = (Path(__file__).parents[2] / "docs/howto/cost-per-outcome.md").read_text()
GRANTS = """version: 1
grants:
  acme:
    owner: ada@acme.example
    class: production
    expires: 2099-01-01
  acme/support:
    owner: lia@acme.example
"""
MID_JUNE = datetime(2026, 6, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The page's grant with the page's calls, in a rehearsal at the end of that June."""
    folder = tmp_path_factory.mktemp("outcomes")
    (folder / "remit.toml").write_text("clock_at = 2026-06-20T00:00:00Z\n")
    with a_folder_with(GRANTS, folder) as made:
        url = start_embedded(folder / ".remit")
        for number, (feature, ticket, usd) in enumerate(
            re.findall(r"^\| (chat|mail) \| (\d|-) \| ([0-9.]+) \|", PAGE, re.MULTILINE)
        ):
            tags = {"feature": feature, **({} if ticket == "-" else {"ticket": ticket})}
            book(url, parse_usd(usd), MID_JUNE - timedelta(days=10) + timedelta(hours=number), tags)
        yield made


def book(url: str, amount: int, at: datetime, tags: dict[str, str]) -> None:
    """A settled call, as a gateway books it."""
    with psycopg.connect(url, options="-c search_path=remit") as looking:
        rows = looking.execute("SELECT id FROM grants ORDER BY path").fetchall()
        (revision,) = looking.execute("SELECT revision FROM tree_state").fetchone() or (0,)
    nodes, name = [row[0] for row in rows], secrets.token_hex(13)
    entry = {
        "grant_path": "acme/support", "node_ids": nodes, "block_ids": [], "class": "production", "owner": "lia@acme.example",
        "tags": tags, "vendor": "openai", "deployment": "openai", "model_requested": "m", "price_source": "test",
        "policy_version": 1, "decision_id": "dec_1",
    }  # fmt: skip
    hold = {
        "id": f"hold_{name}", "operation_id": f"op_{name}", "request_id": f"req_{name}", "grant_id": nodes[-1],
        "taken_at": at.isoformat(), "expires_at": (at + timedelta(hours=1)).isoformat(), "ceiling_nanousd": amount,
        "ceiling_tokens": 0, "lines": [], "entry": entry,
    }  # fmt: skip
    ending = {"id": hold["id"], "outcome": "settled", "usd": amount, "tokens": 0, "entry": {"usage_source": "vendor"}}
    with connect(url, "remit_gateway") as gateway:
        gateway.execute("SELECT take_holds(%s, %s, %s::jsonb)", (revision, at, json.dumps([hold])))
        gateway.execute("SELECT finish_holds(%s, %s::jsonb)", (at, json.dumps([ending])))


@pytest.fixture(scope="module")
def imported(cli: Cli) -> Cli:
    """The same, once the page's file was imported."""
    (csv,) = re.findall(r"```csv\n(.*?)```", PAGE, re.DOTALL)
    (cli.folder / "june.csv").write_text(csv)
    answer = cli.ok("outcome", "import", "june.csv").out
    assert f"$ remit outcome import june.csv\n{answer}" in PAGE, answer
    return cli


def test_the_example_of_the_page_comes_out_as_it_says(imported: Cli) -> None:
    """The page's calls and file give the page's report, to the cent; importing again records nothing."""
    command = "outcome report --by feature --since 2026-06-01 --until 2026-07-01"
    shown = imported.ok(*command.split(), COLUMNS="160").out
    assert f"$ remit {command}\n{shown}```" in PAGE, shown
    total = imported.ok(*command.split(), "--json").json()["kinds"][0]["total"]
    assert (total["attributed_nanousd"], total["unattributed_nanousd"]) == (3_800_000_000, 200_000_000)
    assert (total["outcomes"], total["successes"], total["reversed"]) == (5, 3, 1)
    assert total["cost_per_success_nanousd"] == 1_266_666_667
    assert imported.ok("outcome", "import", "june.csv").out == "recorded 0 events; 7 known before\n"


def test_an_outcome_is_recorded_and_listed(imported: Cli) -> None:
    """Said once it is new, said again it is known, said otherwise it is refused by name."""
    words = [
        "outcome", "record", "--kind", "change_merged", "--subject", "77", "--status", "success", "--grant", "acme/support",
        "--source", "ci", "--id", "run-1", "--time", "2026-06-11T00:00:00Z", "--since", "2026-06-01", "--until", "2026-06-03",
        "--tag", "ticket=77", "--value-usd", "1.50",
    ]  # fmt: skip
    assert imported.ok(*words).out == "recorded 1 event; 0 known before\n"
    assert imported.ok(*words, "--json").json()["known"] == 1
    other = imported(*words[:6], "--status", "failure", *words[8:], "--json")
    assert (other.code, other.json()["problems"][0]["code"]) == (1, "conflict_different_status")
    (event,) = imported.ok("outcome", "list", "--kind", "change_merged", "--json").json()["events"]
    assert event["event"]["value_nanousd"] == 1_500_000_000 and event["asserted_by"] == "tester@localhost"
    assert "77" in imported.ok("outcome", "list", "--subject", "77", "--under", "acme").out
    assert "nobody asserted" in imported.ok("outcome", "list", "--source", "nobody").out
    total = imported.ok("outcome", "report", "--kind", "change_merged", "--json").json()["kinds"][0]["total"]
    assert total["attributed_nanousd"] == 4_000_000_000, "the window has all of it"


def test_two_experiments_of_nothing_are_too_few(imported: Cli) -> None:
    """It says so and gives no difference; one experiment alone is a mistake of usage."""
    both = ["--experiment", "A", "--experiment", "B", "--kind", "ticket_resolved"]
    shown = imported.ok("outcome", "compare", *both).out
    assert "too little to say: `A` has 0 outcomes" in shown and "unknown per success" in shown
    assert imported.ok("outcome", "compare", *both, "--json").json()["verdict"] == "too_few"
    assert imported("outcome", "compare", *both[2:]).code == 2


LINE = {
    "source": "ci", "id": "x", "kind": "change_merged", "subject": "1", "status": "success",
    "time": "2026-06-11T00:00:00Z", "grant": "acme/support",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("a.jsonl", json.dumps(LINE) + "\n{", "line 2: the body is not JSON"),
        (
            "a.jsonl",
            json.dumps({**LINE, "status": "great"}),
            "line 1: the event cannot be used: `status` is `great`, which is none of ",
        ),
        ("a.jsonl", json.dumps({**LINE, "grant": "acme/none"}), "line 1: there is no grant `acme/none`"),
        ("a.jsonl", json.dumps({**LINE, "specversion": "1.0"}), "line 1: the event cannot be used"),
        ("a.jsonl", json.dumps({**LINE, "subject": "x" * 70_000}), "line 1: longer than"),
        ("a.jsonl", '{"id": "a", "id": "b"}', "line 1: the body cannot be used: the name `id` stands twice"),
        ("a.jsonl", "", "has no events"),
        ("a.csv", "source,id\nci,x,y\n", "line 2: it has not as many cells"),
        ("a.csv", "source,value_usd\nci,-1\n", "line 2: `value_usd`"),
        ("a.csv", 'source\n"ci', "is not CSV"),
        ("a.txt", "", "neither `.jsonl` nor `.csv`"),
        ("missing/a.csv", None, "cannot read"),
    ],
)
def test_a_file_that_cannot_be_read_records_nothing(imported: Cli, name: str, text: str | None, word: str) -> None:
    """The line is named, and the good ones before it are not recorded either."""
    if text is not None:
        (imported.folder / name).write_text(text)
    ran = imported("outcome", "import", name)
    assert (ran.code, ran.out) == (2, "") and word in ran.err, ran.err
    events = imported.ok("outcome", "list", "--json", "--source", "ci").json()["events"]
    assert "x" not in {one["event"]["event_id"] for one in events}


def test_a_file_of_cloudevents_is_imported(imported: Cli) -> None:
    """One a line, plain events among them."""
    data = {name: LINE[name] for name in ("kind", "status", "grant")}
    cloud = {name: LINE[name] for name in ("source", "subject", "time")}
    event = {"specversion": "1.0", "type": "remit.outcome.v1", "id": "cloud-1", **cloud, "data": data}
    (imported.folder / "b.jsonl").write_text(f"{json.dumps(event)}\n\n{json.dumps({**LINE, 'id': 'plain-1'})}\n")
    assert imported.ok("outcome", "import", "b.jsonl").out == "recorded 2 events; 0 known before\n"


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ({"successes": 3, "outcomes": 5, "cost_per_success_nanousd": 1_266_666_667}, "$1.266666667 for each of 3 that succeeded, of 5"),
        ({"successes": 0, "outcomes": 2, "cost_per_success_nanousd": None}, "none succeeded, of 2"),
    ],
)  # fmt: skip
def test_a_ticket_shows_what_an_outcome_costs(row: dict[str, int | None], line: str) -> None:
    """Where somebody asserted any; no success is said to be none, and costs nothing that is known."""
    evidence = {"outcomes": {"days": 30, "kinds": [{"kind": "ticket_resolved", **row}]}}
    assert _evidence_lines(evidence) == [f"ticket_resolved, last 30 days: {line}"]
    assert _evidence_lines({"outcomes": None}) == []
