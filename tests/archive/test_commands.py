"""Commands over a ledger whose months have left, with the archive and without."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archive.conftest import filled
from tests.archive.ground import NOW, Ground
from tests.cli.conftest import Cli
from tests.store.database import copy_of

BLIND = "[ledger]\n"


@pytest.fixture(scope="module")
def remit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """Four months of a signed ledger are in the archive alone. `blind.toml` does not say where that is."""
    folder = tmp_path_factory.mktemp("commands")
    url = copy_of(filled().trial.url)
    ground = Ground(url, folder / "past", filled())
    plain = f'database_url = "{url}"\nclock_at = {NOW:%Y-%m-%dT%H:%M:%SZ}\n'
    (folder / "remit.toml").write_text(f'{plain}[archive]\npath = "{ground.folder}"\ndrop = true\nhot_days = 40\n')
    (folder / "blind.toml").write_text(plain)
    made = Cli(folder, {"PATH": os.environ["PATH"], "HOME": str(folder), "USER": "tester"})
    made.ok("ledger", "seal")
    assert len(made.ok("ledger", "archive", "--json").json()["dropped"]) == 4
    yield made
    ground.close()


def test_a_ledger_is_verified_with_its_archive(remit: Cli) -> None:
    """And without it, the exit code and the words say that this was not all."""
    assert remit.ok("ledger", "verify").out.endswith("\nverified\n")
    blind = remit("ledger", "verify", "--config", "blind.toml")
    assert blind.code == 4
    assert "28 of them were not there to be looked at" in blind.out
    assert "  archived, not looked at: 28 of entries_2026_01, " in blind.out
    assert "  why: `archive.path` is not set" in blind.out
    assert blind.out.endswith("\nNOT ALL was looked at; what was is what was signed\n")
    body = remit("ledger", "verify", "--config", "blind.toml", "--json").json()
    assert (body["verified"], body["outcome"], body["unseen"], body["faults"]) == (False, "incomplete", 28, [])
    assert [(one["how"], one["entries"]) for one in body["away"]] == [("archived", 28)]


def test_an_export_is_whole_or_is_not_there(remit: Cli) -> None:
    """Without the archive nothing stays behind."""
    remit.ok("ledger", "export", "--out", "all.jsonl")
    key = remit.ok("ledger", "key").out.strip()
    assert remit.ok("ledger", "verify", "--export", "all.jsonl", "--whole", "--key", key).out.startswith("35 entries")
    blind = remit("ledger", "export", "--out", "some.jsonl.gz", "--config", "blind.toml")
    assert (blind.code, blind.out) == (1, "")
    assert "remit: not exported: entries from index 0 on are in the archive, and it cannot be read" in blind.err
    assert not (remit.folder / "some.jsonl.gz").exists()


def test_an_archived_entry_is_proved(remit: Cli) -> None:
    """Without the archive it is not said to be unknown."""
    question = "SELECT min(id) AS id FROM entries"
    entry = remit.ok("ledger", "scan", "--sql", question, "--format", "json").json()[0]["id"]
    assert remit.ok("ledger", "prove", entry, "--json").json()["index"] == 0
    blind = remit("ledger", "prove", entry, "--config", "blind.toml")
    assert blind.code == 2
    assert blind.err.startswith(f"remit: `{entry}` is not in the database, and the archive cannot be read")


def test_focus_of_a_month_that_left(remit: Cli) -> None:
    """Is written from the archive, or refused."""
    assert remit.ok("ledger", "focus", "--month", "2026-01", "--out", "a.csv").out.endswith(" rows in a.csv\n")
    assert len((remit.folder / "a.csv").read_text().splitlines()) > 1
    blind = remit("ledger", "focus", "--month", "2026-01", "--out", "b.csv", "--config", "blind.toml")
    assert blind.code == 2
    assert "2026-01 left the database, and the archive cannot be read" in blind.err
    assert not Path(remit.folder / "b.csv").exists()


def test_comparing_a_month_that_left(remit: Cli) -> None:
    """Is done with the archive, or refused."""
    asked = ("reconcile", "match", "--month", "2026-01", "--vendor", "openai", "--bill", "INV-1=0.000000048", "--json")
    blind = remit(*asked, "--config", "blind.toml")
    assert (blind.code, "2026-01 left the database" in blind.err) == (2, True)
    assert remit(*asked).json()["reconciliation"]["ledger_nanousd"] == 48
