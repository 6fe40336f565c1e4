"""Reports, the tail of the ledger, suspense and evidence, notifications, the doctor."""

import csv
import io
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import openai
import psycopg
import pytest

from remit.cli.ledger_look import share_text
from tests.cli.conftest import HELLO, Cli
from tests.system.harness import System, root


def test_a_report_is_the_same_in_every_format(cli: Cli, spent: str) -> None:
    """Table, CSV and JSON show the same sums, largest first."""
    by = ("ledger", "report", "--by", "grant,team,class,model")
    rows = [one for one in cli.ok(*by, "--json").json()["rows"] if one["group"]["grant"].startswith(spent)]
    assert [(one["group"]["team"], one["amount_nanousd"], one["requests"]) for one in rows] == [
        ("search", 300_000_000, 2),
        ("lab", 100_000_000, 1),
    ]
    table = list(csv.DictReader(io.StringIO(cli.ok(*by, "--format", "csv").out)))
    (search,) = (row for row in table if row["grant"] == f"{spent}/search")
    assert (search["amount_usd"], search["amount_nanousd"], search["class"]) == ("0.30", "300000000", "production")
    text = cli.ok(*by).out
    assert "$0.30" in text and text.splitlines()[-1].startswith("total") and len(text.splitlines()) == len(table) + 2


def test_no_cell_of_a_report_is_a_formula(cli: Cli, system: System) -> None:
    """A tag that a caller chose is text in a spreadsheet; JSON has it as it is."""
    system.apply({"formula": root("5.00")})
    client = system.client(system.key("formula"))
    headers = {"remit-tags": "project==1+1"}
    client.chat.completions.create(model="sim-dime", messages=HELLO, max_completion_tokens=1, extra_headers=headers)
    rows = csv.DictReader(io.StringIO(cli.ok("ledger", "report", "--by", "project", "--format", "csv").out))
    assert "'=1+1" in [row["project"] for row in rows]
    groups = cli.ok("ledger", "report", "--by", "project", "--json").json()["rows"]
    assert "=1+1" in [one["group"]["project"] for one in groups]


def test_a_month_is_written_as_focus(cli: Cli, spent: str, system: System, tmp_path: Path) -> None:
    """The file sums to what the ledger says was booked in the month, in CSV as in Parquet, and says how many rows it has."""
    month = str(system.sql("SELECT max(to_char(held_at AT TIME ZONE 'UTC', 'YYYY-MM')) FROM entries")[0][0])
    report = cli.ok("ledger", "report", "--since", f"{month}-01", "--by", "grant", "--json").json()
    path = tmp_path / "month.csv"
    ran = cli.ok("ledger", "focus", "--month", month, "--out", str(path))
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert f"{len(rows)} rows in {path}" in ran.out
    assert sum(Decimal(row["BilledCost"]) for row in rows) * 10**9 == report["total"]["amount_nanousd"]
    search = [row for row in rows if row["x_GrantPath"] == f"{spent}/search" and row["SkuMeter"] == "Output Tokens"]
    assert sorted((row["ConsumedQuantity"], row["BilledCost"], row["x_LedgerEntriesCount"]) for row in search) == [
        ("1.0", "0.1", "1.0"),
        ("2.0", "0.2", "1.0"),
    ], "each key is a principal"
    assert len({row["x_PrincipalId"] for row in search} - {""}) == 2
    cli.ok("ledger", "focus", "--month", month, "--out", str(tmp_path / "month.parquet"), "--grain", "entry")
    assert (tmp_path / "month.parquet").read_bytes()[:4] == b"PAR1"
    cli.ok("ledger", "focus", "--month", month, "--out", str(path), "--dataset", "billing-period")
    assert ",Open,OpenAI" in path.read_text()
    empty = cli.ok("ledger", "focus", "--month", month, "--out", str(path), "--dataset", "invoice-detail")
    assert empty.out.startswith("0 rows") and "no bill is known" in empty.err


@pytest.mark.parametrize(
    ("month", "out", "says"),
    [
        ("2026-13", "x.csv", "is not a month such as 2026-11"),
        ("november", "x.csv", "is not a month"),
        ("2026-11", "x.xlsx", "ends in none of .csv, .csv.gz, .parquet"),
        ("2026-11", "nowhere/x.csv", "there is no folder"),
    ],
)
def test_a_focus_file_is_asked_for_properly(cli: Cli, month: str, out: str, says: str, tmp_path: Path) -> None:
    """A month that is none and a file that cannot be are said before anything is read."""
    ran = cli("ledger", "focus", "--month", month, "--out", str(tmp_path / out))
    assert ran.code == 2 and says in ran.err and list(tmp_path.iterdir()) == []


def test_a_report_keeps_to_its_time(cli: Cli, spent: str) -> None:
    """--since and --until bound the instants calls began at."""
    assert cli.ok("ledger", "report", "--until", "2020-01-01", "--json").json()["total"]["requests"] == 0
    assert cli.ok("ledger", "report", "--since", "2020-01-01", "--json").json()["total"]["requests"] >= 3
    assert cli("ledger", "report", "--since", "yesterday").code == 2
    backwards = cli("ledger", "report", "--since", "2026-02-01", "--until", "2026-01-01")
    assert backwards.code == 2 and "is not before --until" in backwards.err
    assert cli("ledger", "report", "--format", "csv", "--json").code == 2
    wrong = cli("ledger", "report", "--by", "Team!")
    assert wrong.code == 2 and "neither a dimension nor the name of a tag" in wrong.err


def test_a_tag_that_nothing_has_is_remarked_on(cli: Cli, spent: str) -> None:
    """A misspelt dimension is a tag like any other, so the report says that no entry has it."""
    said = "no entry has a tag `taem`; did you mean `team`?\n"
    for report in ("report", "units", "forecast"):
        for option in ("--by=taem", "--only=taem=search", "--only=taem="):
            ran = cli.ok("ledger", report, option, "--json")
            assert ran.err == said and ran.json()["by"] is not None, (report, option)
        assert "no entry" not in cli.ok("ledger", report, "--by=team", "--only=team=search,tenant=", "--json").err
    assert cli.ok("ledger", "coverage", "--tags", "team,taem", "--json").err == said


def test_a_name_is_known_that_anything_ever_had(cli: Cli, spent: str) -> None:
    """A tag of another month, or one that is governed and that no entry has yet, is not taken for a mistake."""
    for report in ("report", "units"):
        ran = cli.ok("ledger", report, "--by", "not_yet", "--until", "2020-01-01")
        assert ran.err == "no entry has a tag `not_yet`\n"
    cli.ok(
        "tag", "set", "not_yet", "--any", "--owner", "fin@acme.example", "--description", "comes", "--reason", "soon"
    )
    for command in (
        ("report", "--by=not_yet"),
        ("units", "--only=not_yet=x"),
        ("coverage", "--tags=not_yet", "--json"),
    ):
        assert cli.ok("ledger", *command).err == "", command
    cli.ok("tag", "retire", "not_yet", "--reason", "never came")
    assert cli.ok("ledger", "report", "--by", "not_yet").err == "no entry has a tag `not_yet`\n"


@pytest.mark.parametrize(
    ("amount", "total", "text"),
    [(1, 3, "33%"), (2, 3, "67%"), (1, 1000, "<1%"), (999, 1000, ">99%"), (7, 7, "100%"), (0, 7, "0%"), (0, 0, "")],
)
def test_shares_are_rounded_and_honest_at_the_ends(amount: int, total: int, text: str) -> None:
    """A share is the nearest percent; something is never nothing, and less than all is never all."""
    assert share_text(amount, total) == text


def test_instants_have_one_form(cli: Cli, spent: str) -> None:
    """Every instant of an entry ends in Z."""
    entry = json.loads(cli.ok("ledger", "tail", "-n", "1", "--json").out)
    instants = [value for name, value in entry.items() if name.endswith("_at") and value is not None]
    assert instants and all(value.endswith("Z") for value in instants)


def test_the_tail_ends_with_the_newest_entry(cli: Cli, spent: str, system: System) -> None:
    """Entries come oldest first, in full as JSON, one a line."""
    rows = [json.loads(line) for line in cli.ok("ledger", "tail", "-n", "2", "--json").out.splitlines()]
    assert len(rows) == 2 and rows[0]["seq"] < rows[1]["seq"]
    assert rows[1]["seq"] == system.sql("SELECT max(seq) FROM entries")[0][0]
    nothing = cli.ok("ledger", "tail", "-n", "0")
    assert nothing.out == "" and "--follow" in nothing.err
    assert "usage" in cli.ok("ledger", "tail", "-n", "500").out


def test_a_followed_tail_shows_what_comes(cli: Cli, system: System) -> None:
    """--follow prints an entry soon after it is written, and nothing from before."""
    system.apply({"followed": root("5.00")})
    client = system.client(system.key("followed"))
    command = [*cli.command(), "ledger", "tail", "-n", "0", "--follow", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=cli.environment, cwd=cli.folder, text=True) as process:
        stdout = process.stdout
        assert stdout is not None
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.append(stdout.readline()))
        reader.start()
        # It follows from when it looked first, so calls are made until one of them is seen.
        called = 0
        while reader.is_alive() and called < 20:
            client.chat.completions.create(model="sim-dime", messages=HELLO, max_completion_tokens=1)
            called += 1
            reader.join(1)
        process.terminate()
    assert json.loads(lines[0])["grant_path"] == "followed"


@pytest.fixture
def doubtful(system: System) -> Iterator[str]:
    """A grant with one call whose usage the vendor did not state, alone in the vendor's books."""
    path = "doubt"
    system.apply({path: root("50.00")})
    system.wait_until_no_hold_is_open()
    system.vendor.wait_idle(10)
    system.vendor.reset()
    system.vendor.script(usage="absent", completion_tokens=3)
    client = system.client(system.key(path))
    client.chat.completions.create(model="sim-dime", messages=HELLO, max_completion_tokens=30)
    system.vendor.wait_idle(10)
    system.wait_until_no_hold_is_open()
    system.vendor.script()
    yield path
    system.vendor.reset()


def test_a_statement_settles_what_is_in_suspense(cli: Cli, doubtful: str, system: System, tmp_path: Path) -> None:
    """Evidence books what the vendor charged; a statement that contradicts its own usage is reported and waits."""
    assert system.spent(doubtful) == 3_000_000_000
    (waiting,) = cli.ok("ledger", "suspense", "--json").json()
    assert "$3.00" in cli.ok("ledger", "suspense").out
    good = system.vendor.get("/sim/books.csv").decode()
    wrong = tmp_path / "wrong.csv"
    wrong.write_text(good.replace(",300000000,", ",310000000,"))
    ran = cli("ledger", "evidence", str(wrong))
    assert (
        ran.code == 1 and "the vendor states $0.31, its usage costs $0.30" in ran.out and waiting["hold_id"] in ran.out
    )
    assert system.spent(doubtful) == 3_000_000_000
    statement = tmp_path / "statement.csv"
    statement.write_text(good)
    assert "would book $0.30 where $3.00" in cli.ok("ledger", "evidence", str(statement), "--dry-run").out
    done = cli.ok("ledger", "evidence", str(statement), "--json", "--actor", "fin@acme.example").json()
    assert (done["settled"], done["left_in_suspense"], done["differences"]) == (1, 0, [])
    assert system.spent(doubtful) == system.vendor.books().total_nanousd == 300_000_000
    note = system.entries(doubtful)[-1]["note"]
    assert "statement.csv" in note and "fin@acme.example" in note
    assert cli.ok("ledger", "evidence", str(statement), "--json").json()["settled"] == 0
    assert cli.ok("ledger", "suspense").out == "nothing is in suspense\n"
    system.assert_books_agree()


def test_an_amount_alone_settles_as_well(cli: Cli, system: System, doubtful: str, tmp_path: Path) -> None:
    """A statement without usage is believed; a call that stands in it twice is not."""
    (waiting,) = cli.ok("ledger", "suspense", "--json").json()
    line = f"{waiting['hold_id']},0.30\n"
    before = system.spent(doubtful)
    statement = tmp_path / "amounts.csv"
    statement.write_text("idempotency_key,amount_usd\n" + line * 2)
    assert cli("ledger", "evidence", str(statement)).code == 1 and system.spent(doubtful) == before
    statement.write_text("idempotency_key,amount_usd\n" + line + "hold_of_somebody_else,1.00\n,2.00\n")
    assert cli.ok("ledger", "evidence", str(statement), "--json").json()["settled"] == 1
    assert system.spent(doubtful) == before - 2_700_000_000
    system.assert_books_agree()


def test_a_complete_statement_settles_what_it_does_not_have(
    cli: Cli, system: System, doubtful: str, tmp_path: Path
) -> None:
    """Calls of a span that a complete statement of it lacks were not charged; outside the span nothing is assumed."""
    (waiting,) = cli.ok("ledger", "suspense", "--json").json()
    before = system.spent(doubtful)
    statement = tmp_path / "none.csv"
    statement.write_text("idempotency_key,amount_usd\n")
    options = ["ledger", "evidence", str(statement), "--json"]
    assert cli.ok(*options).json()["left_in_suspense"] == 1
    early = cli.ok(*options, "--complete-from", "2020-01-01", "--complete-until", waiting["held_at"]).json()
    assert (early["absent"], early["left_in_suspense"], system.spent(doubtful)) == (0, 1, before)
    assert cli(*options, "--complete-from", "2020-01-01").code == 2
    done = cli.ok(*options, "--complete-from", waiting["held_at"], "--complete-until", "2099-01-01").json()
    assert (done["absent"], done["settled"], done["left_in_suspense"]) == (1, 1, 0)
    assert system.spent(doubtful) == before - 3_000_000_000
    system.assert_books_agree()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "its header needs"),
        ("idempotency_key,amount_usd\nhold_1,0.1.2\n", "line 2"),
        ("idempotency_key,amount_nanousd\nhold_1,-5\n", "not a whole number"),
        ("idempotency_key,prompt_tokens,completion_tokens,cached_tokens\nhold_1,5,1,9\n", "9 cached tokens"),
    ],
)
def test_a_bad_statement_is_exit_code_two(cli: Cli, tmp_path: Path, text: str, words: str) -> None:
    """A statement that cannot be read is named with its line, and nothing of it is applied."""
    statement = tmp_path / "bad.csv"
    statement.write_text(text)
    ran = cli("ledger", "evidence", str(statement))
    assert ran.code == 2 and words in ran.err


def test_notifications_are_listed(cli: Cli, system: System) -> None:
    """A cap that was reached is a notification with its numbers."""
    system.apply({"loud": root("0.10")})
    client = system.client(system.key("loud"))
    client.chat.completions.create(model="sim-dime", messages=HELLO, max_completion_tokens=1)
    with pytest.raises(openai.APIStatusError):
        client.chat.completions.create(model="sim-dime", messages=HELLO, max_completion_tokens=1)
    rows = [one for one in cli.ok("notifications", "--json").json() if one["path"] == "loud"]
    assert {"threshold", "cap_reached"} <= {one["kind"] for one in rows}
    text = cli.ok("notifications", "--undelivered", "-n", "1000").out
    assert "loud" in text and "100%: $0.10 of $0.10" in text


def test_dead_letters_are_shown_with_the_reason_and_retried(cli: Cli, system: System) -> None:
    """What did not reach a channel stands in a list of its own until it is made due again."""
    deliveries = system.authority.deliveries
    deliveries.fan_out("room", (), ())  # known from now on
    system.apply({"lost": root("0.10")})
    client = system.client(system.key("lost"))
    client.chat.completions.create(model="sim-dime", messages=HELLO, max_completion_tokens=1)
    deliveries.fan_out("room", ("threshold",), ())
    lost = deliveries.claim("room")
    assert lost is not None
    deliveries.end("room", lost, "dead", error="channel_not_found")
    number = str(lost["id"])
    (row,) = [one for one in cli.ok("notifications", "--dead", "--json").json() if one["id"] == lost["id"]]
    assert (row["channel"], row["error"]) == ("room", "channel_not_found")
    assert "channel_not_found" in cli.ok("notifications", "--dead").out
    assert f"notification {number} is due again: room" in cli.ok("notifications", "retry", number).out
    assert cli("notifications", "retry", number).code == 2
    assert cli.ok("notifications", "--dead").out == "no dead letters\n"


def test_the_doctor_finds_a_healthy_system_healthy(cli: Cli, spent: str) -> None:
    """Nothing differs: exit code 0, and each check says how much it looked at."""
    text = cli.ok("doctor").out
    assert text.endswith("healthy\n") and "every report sums to the ledger" in text
    found = cli.ok("doctor", "--json").json()
    assert found["healthy"] is True
    assert {one["name"] for one in found["checks"]} >= {"migrations", "issuer_key", "vendor_keys", "buckets", "hashes"}


def test_the_doctor_finds_a_difference(cli: Cli, spent: str, system: System) -> None:
    """A bucket that is not what the ledger says is exit code 1, with both numbers; the report of its period differs as well."""
    change = "UPDATE remit.buckets SET posted = posted {} 7 WHERE node_id = (SELECT id FROM remit.grants WHERE path = 'books')"
    with psycopg.connect(system.url, autocommit=True) as connection:
        connection.execute(change.format("+"))
        try:
            ran = cli("doctor")
        finally:
            connection.execute(change.format("-"))
    assert ran.code == 1 and "differs buckets equal the ledger" in ran.out and "2 differences" in ran.out
    assert re.search(r" books \(grant_\w+ usd month [0-9-]+T[0-9:]+Z: posted\)", ran.out)


def test_a_key_that_only_the_gateway_has_is_a_note(cli: Cli, system: System, tmp_path: Path) -> None:
    """The doctor's own shell need not have the vendor's key; its absence is said and is no difference."""
    config = tmp_path / "remit.toml"
    config.write_text(f'data_dir = "{system.settings.data_dir}"\n')
    text = cli.ok("doctor", "--config", str(config)).out
    assert "note    `OPENAI_API_KEY`" in text and text.endswith("healthy\n")
    found = cli.ok("doctor", "--json", "--config", str(config)).json()
    assert found["healthy"] is True and len(found["notes"]) == 1
    assert cli.ok("doctor", "--json", "--config", str(config), OPENAI_API_KEY="k").json()["notes"] == []


def test_the_doctor_looks_at_settings(cli: Cli, system: System, tmp_path: Path) -> None:
    """A vendor's address that is none is found; a key others may read is, too, and so is a stranger among migrations."""
    config = tmp_path / "remit.toml"
    config.write_text(f'data_dir = "{system.settings.data_dir}"\n[vendors.acme]\nbase_url = "nonsense"\n')
    ran = cli("doctor", "--config", str(config))
    assert ran.code == 1 and "differs the gateway can use every vendor" in ran.out and "base_url" in ran.out
    key = system.settings.data_dir / "issuer.key"
    key.chmod(0o644)
    try:
        assert "may be read by others" in cli("doctor").out
    finally:
        key.chmod(0o600)
    with psycopg.connect(system.url, autocommit=True) as connection:
        connection.execute("INSERT INTO public.remit_migrations (name, sha256) VALUES ('9999_later.sql', '')")
        try:
            assert "applied by a newer version" in cli("doctor").out
            newer = cli("grant", "tree")
        finally:
            connection.execute("DELETE FROM public.remit_migrations WHERE name = '9999_later.sql'")
    assert newer.code == 3 and "newer than this version" in newer.err


def test_debts_are_listed(cli: Cli, system: System) -> None:
    """Nothing is owed where no overdraft was drawn, in words and in JSON."""
    assert cli.ok("ledger", "debts").out == "nothing is owed\n"
    assert cli.ok("ledger", "debts", "--all", "--json").json() == []


def test_findings_end_the_command_with_one(cli: Cli, system: System) -> None:
    """As differences do, so that a scheduled job can tell; none of a kind is code 0, no such kind is code 2."""
    system.apply({"near": root("5.00"), "near/all": root("5.00")})
    ran = cli("findings", "--kind", "children_near_parent")
    assert ran.code == 1 and "near" in ran.out
    ran = cli("findings", "--kind", "children_near_parent", "--json")
    assert "near" in [one["path"] for one in ran.json()["findings"]] and ran.code == 1
    ran = cli("findings", "--kind", "long_lived_key")
    assert (ran.code, ran.out) == (0, "no findings\n")
    assert cli("findings", "--kind", "nonsense").code == 2
