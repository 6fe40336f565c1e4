"""`remit ledger archive`, `scan` and `hold`, as their users meet them."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.cli.conftest import Cli, a_folder_with

GRANTS = """version: 1
grants:
  acme:
    owner: ada@acme.example
    class: production
    expires: 2030-01-01
"""


@pytest.fixture(scope="module")
def remit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    with a_folder_with(GRANTS, tmp_path_factory.mktemp("archive")) as made:
        yield made


def test_without_a_path_there_is_nowhere_to_archive_to(remit: Cli) -> None:
    """That is said, and nothing is done."""
    ran = remit("ledger", "archive")
    assert ran.code == 2
    assert ran.err == "remit: `archive.path` is not set: there is nowhere to archive to\n"


def test_everything_can_be_asked_in_one_table(remit: Cli) -> None:
    """With an archive or without, in three forms; what is no question is refused."""
    question = "SELECT count(*) AS entries, coalesce(sum(amount_nanousd), 0) AS nanousd FROM entries"
    assert remit.ok("ledger", "scan", "--sql", question, "--format", "json").json() == [{"entries": 0, "nanousd": 0}]
    (remit.folder / "remit.toml").write_text('[archive]\npath = "past"\n')
    done = remit.ok("ledger", "archive", "--json").json()
    assert done == {"segments": 0, "entries": 0, "compacted": 0, "dropped": [], "expired": [], "kept": {}}
    assert remit.ok("ledger", "scan", "--sql", question, "--format", "csv").out == "entries,nanousd\n0,0\n"
    assert "entries" in remit.ok("ledger", "scan", "--sql", question).out
    parts = "SELECT ['a', NULL] AS l, {'n': 1} AS s, true AS b"
    assert remit.ok("ledger", "scan", "--sql", parts, "--format", "csv").out.endswith(
        '"[""a"",null]","{""n"":1}",true\n'
    )
    refused = remit("ledger", "scan", "--sql", "DROP TABLE entries")
    assert (refused.code, refused.err) == (2, "remit: one SELECT can be asked, and nothing else\n")
    for memory, why in (
        ("1GB'; SELECT 1", "is no size such as 512MB"),
        ("abc", "is no size such as 512MB"),
        ("0", "is no size such as 512MB"),
        ("0MB", "of memory is too little"),
        ("1KB", "of memory is too little"),
    ):
        refused = remit("ledger", "scan", "--sql", question, "--memory", memory)
        assert refused.code == 2 and refused.err.endswith(f"`{memory}` {why}\n"), refused
    assert remit("ledger", "scan", "--sql", "SELECT * FROM range(1000002)").code == 2


def test_legal_holds_are_placed_listed_and_lifted(remit: Cli) -> None:
    """Each with who and why, also in the audit; one on nothing there is refused."""
    assert remit.ok("ledger", "hold", "list").out == "there is no legal hold\n"
    assert remit("ledger", "hold", "place", "--reason", "a matter", "--under", "acme/none").code == 2
    assert remit("ledger", "hold", "place", "--reason", " ").code == 2
    placed = remit.ok("ledger", "hold", "place", "--reason", "a matter", "--under", "acme", "--json").json()["id"]
    assert "acme" in remit.ok("ledger", "hold", "list").out
    assert remit.ok("ledger", "hold", "lift", placed, "--reason", "settled", "--actor", "lea@acme.example").out
    assert remit("ledger", "hold", "lift", placed, "--reason", "settled").code == 1
    assert remit.ok("ledger", "hold", "list", "--json").json() == []
    (one,) = remit.ok("ledger", "hold", "list", "--all", "--json").json()
    assert (one["path"], one["reason"], one["placed_by"], one["lifted_by"]) == (
        "acme",
        "a matter",
        "tester@localhost",
        "lea@acme.example",
    )
    audit = remit.ok("audit", "--json").out
    assert "ledger hold place" in audit
    assert "ledger hold lift" in audit


def test_nobody_else_loads_what_the_archive_needs() -> None:
    """Starting, gateways and other commands do without: these libraries are large, and need not be installed."""
    code = (
        "import sys, remit.bootstrap, remit.cli.main, remit.gateway, remit.jobs.upkeep, remit.cli.ledger;"
        "print([name for name in ('duckdb', 'deltalake', 'pyarrow') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "[]\n"
