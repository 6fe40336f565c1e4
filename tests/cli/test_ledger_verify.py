"""`remit ledger seal`, `verify`, `export`, `prove`, `checkpoint` and `key`, as their users have them."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from remit.ledger.checkpoint import open_note, read_verifier_key
from remit.store.embedded import start_embedded
from tests.api.document_ground import ENTRY
from tests.cli.conftest import Cli, a_folder_with

GRANTS = """
version: 1
grants:
  acme: {owner: ana@acme.example, class: production, expires: 2099-01-01, limits: [{usd: "9.00", per: month}]}
"""


AUDIT_PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "audit-a-month.md"


class Office:
    """A ledger of twelve entries that were sealed, and an auditor's folder that has nothing of it."""

    def __init__(self, cli: Cli, folder: Path) -> None:
        self.here, self.numbers = cli, 0
        self.away = Cli(folder, {"PATH": os.environ["PATH"], "HOME": str(folder)})
        self.url = start_embedded(cli.folder / ".remit")
        self.book(12)

    def sql(self, statement: str, parameters: Any = None, *, triggers: str = "replica") -> None:
        """As a superuser; unless told otherwise with triggers off."""
        with psycopg.connect(self.url, autocommit=True, options="-c search_path=remit") as connection:
            connection.execute(f"SET session_replication_role = {triggers}".encode())
            connection.execute(statement.encode(), parameters)

    def book(self, count: int) -> None:
        for _ in range(count):
            self.numbers += 1
            self.sql(ENTRY, {"id": f"entry_{self.numbers}", "path": "acme"}, triggers="origin")


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with a_folder_with(GRANTS, tmp_path_factory.mktemp("here")) as cli:
        yield Office(cli, tmp_path_factory.mktemp("away"))


def test_before_anything_is_sealed(office: Office) -> None:
    """Each command says what is missing, and the doctor finds nothing wrong with that."""
    for command in (["verify"], ["checkpoint"], ["key"], ["export", "--out", "x"], ["prove", "entry_1"]):
        assert office.here("ledger", *command).code in (1, 2)
    checks = {one["name"]: one for one in office.here("doctor", "--json").json()["checks"]}
    assert checks["seals"]["differences"] == []


def test_a_ledger_is_sealed_and_verified(office: Office) -> None:
    """It is said how much was compared with how many checkpoints, and how much was not."""
    assert office.here.ok("ledger", "seal").out == "12 entries are sealed and signed\n"
    office.book(2)
    said = office.here.ok("ledger", "verify").out
    assert (
        "12 entries, from index 0 on, were compared" in said and "with 1 checkpoint, the newest of 12 entries" in said
    )
    assert "2 newer entries are not sealed yet" in said and said.endswith("verified\n")
    body = office.here.ok("ledger", "verify", "--json").json()
    assert (body["verified"], body["until_index"], body["unsealed"], body["faults"]) == (True, 12, 2, [])
    key = (office.here.folder / ".remit/ledger.key").stat()
    assert key.st_mode & 0o777 == 0o600
    assert office.here.ok("ledger", "seal", "--json").json()["size"] == 14
    checks = {one["name"]: one for one in office.here("doctor", "--json").json()["checks"]}
    assert (checks["seals"]["examined"], checks["seals"]["differences"]) == (14, [])


def test_what_was_published_is_printed(office: Office) -> None:
    """The newest note, or all of them in the form of the file; and the public key that verifies them."""
    key = read_verifier_key(office.here.ok("ledger", "key").out.strip())
    assert open_note(office.here.ok("ledger", "checkpoint").out, key).size == 14
    log = (office.here.folder / ".remit/checkpoints/ledger.txt").read_text()
    assert office.here.ok("ledger", "checkpoint", "--all").out == log


def test_an_entry_is_proved(office: Office) -> None:
    """In words and as JSON; of an entry that is not there, nothing."""
    assert "is entry 3 of 14" in office.here.ok("ledger", "prove", "entry_4").out
    proof = office.here.ok("ledger", "prove", "entry_4", "--size", "12", "--json").json()
    assert (proof["index"], proof["size"], json.loads(proof["entry"])["id"]) == (3, 12, "entry_4")
    assert "there is no entry" in office.here("ledger", "prove", "entry_x").err


@pytest.mark.parametrize("name", ["ledger.jsonl", "ledger.jsonl.gz"])
def test_an_auditor_verifies_an_export_alone(office: Office, name: str) -> None:
    """Without database, settings or server: with a file, a checkpoint and a key. What was changed is said, with its place."""
    out = office.here.folder / name
    office.here.ok("ledger", "export", "--out", str(out))
    assert office.here("ledger", "export", "--out", str(out)).code == 74
    shutil.copy(out, office.away.folder)
    shutil.copy(office.here.folder / ".remit/checkpoints/ledger-latest.txt", office.away.folder / "note")
    key = office.here.ok("ledger", "key").out.strip()
    verify = ("ledger", "verify", "--export", name, "--checkpoint", "note", "--key", key)
    done = office.away.process(*verify)
    assert done.code == 0 and "14 entries, from index 0 on" in done.out and done.out.endswith("verified\n"), done
    packed = name.endswith(".gz")
    raw = gzip.decompress(out.read_bytes()) if packed else out.read_bytes()
    altered = raw.replace(b'"id":"entry_5"', b'"id":"entry_6"')
    (office.away.folder / name).write_bytes(gzip.compress(altered) if packed else altered)
    found = office.away(*verify)
    assert (
        found.code == 1
        and found.out.startswith("edited      index 4: ")
        and "NOT what was signed: 1 fault" in found.out
    )
    (office.away.folder / name).write_bytes(out.read_bytes()[:-20])
    assert office.away(*verify).code == 1
    assert sorted(one.name for one in office.away.folder.iterdir() if one.name.startswith(".")) == []


def test_an_auditor_sums_a_month_by_the_page(office: Office) -> None:
    """The page's own script, run by a plain Python on the export: what each vendor is owed is what the ledger says."""
    (script,) = re.findall(r"```python\n(.*?)```", AUDIT_PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (office.away.folder / "sum_month.py").write_text(script)
    office.here.ok("ledger", "export", "--out", str(office.away.folder / "month.jsonl.gz"))
    month = datetime.now(UTC).strftime("%Y-%m")
    command = [sys.executable, "-I", "sum_month.py", "month.jsonl.gz"]
    of_month = subprocess.run([*command, month], cwd=office.away.folder, capture_output=True, text=True, check=True)
    assert of_month.stdout == "v: 0.00 USD (14 nano-USD)\n"
    of_another = subprocess.run(
        [*command, "2020-01"], cwd=office.away.folder, capture_output=True, text=True, check=False
    )
    told = (of_another.returncode, of_another.stdout, of_another.stderr)
    assert told == (1, "", "no entry is booked in 2020-01\n")
    note = office.here.folder / ".remit/checkpoints/ledger-latest.txt"
    verify = (
        "ledger",
        "verify",
        "--whole",
        "--checkpoint",
        str(note),
        "--key",
        office.here.ok("ledger", "key").out.strip(),
    )
    assert office.away(*verify, "--export", "month.jsonl.gz").code == 0
    for part, said in (
        ("--since-index=1", "begins at index 1"),
        ("--until-index=13", "ends here, and 14 entries were signed"),
    ):
        name = f"part{part}.jsonl.gz"
        office.here.ok("ledger", "export", "--out", str(office.away.folder / name), part)
        found = office.away(*verify, "--export", name)
        assert found.code == 1 and found.out.startswith("part ") and said in found.out
        command[-1] = name
        failed = subprocess.run([*command, month], cwd=office.away.folder, capture_output=True, text=True, check=False)
        assert failed.returncode == 1 and "an export of a part" in failed.stderr and not failed.stdout


def test_a_mistake_in_verifying_is_a_line(office: Office) -> None:
    """A missing file, a key that is none, a file that is no checkpoint or no export; each with its exit code."""
    key = office.here.ok("ledger", "key").out.strip()
    (office.away.folder / "junk").write_bytes(b"\xff\n\n\x00")
    (office.away.folder / "junk.gz").write_bytes(b"\x1f\x8bxx")
    verify = ("ledger", "verify", "--export")
    assert "needs --key" in office.away(*verify, "junk").err
    assert "--whole is asked of an export" in office.here("ledger", "verify", "--whole").err
    assert "--key: not a key" in office.away(*verify, "junk", "--key", "x").err
    for arguments, code in (
        (("nothing", "--key", key), 2),
        (("junk", "--key", key), 1),
        (("junk.gz", "--key", key), 1),
        (("junk", "--key", key, "--checkpoint", "junk"), 1),
        (("junk", "--key", key, "--checkpoint", "nothing"), 2),
    ):
        done = office.away(*verify, *arguments)
        assert done.code == code and done.err.startswith("remit: ") and done.err.count("\n") == 1, done
    for since, until in (("3", "3"), ("0", "99"), ("-1", "2")):
        bad = office.here("ledger", "export", "--out", "y", f"--since-index={since}", f"--until-index={until}")
        assert bad.code == 2 and not (office.here.folder / "y").exists()
    part = office.here("ledger", "export", "--out", "part", "--since-index", "3", "--until-index", "7")
    assert part.err == "entries 3 to 7 of the 14 that are signed are in part\n"


def test_what_a_superuser_did_is_found_where_it_was_done(office: Office) -> None:
    """By `verify`, with exit code 1; and who rewrote the tree gets no signature, which the doctor tells until somebody looks."""
    office.sql("UPDATE entries SET amount_nanousd = 2 WHERE id = 'entry_3'")
    office.sql("UPDATE entries AS e SET entry_hash = hash_of(e)")
    found = office.here("ledger", "verify")
    assert (
        found.code == 1
        and found.out.startswith("edited      index 2: it is another entry")
        and "(entry_3)" in found.out
    )
    office.sql("UPDATE ledger_tiles SET hashes = substring(hashes FOR 64) || sha256('x') || substring(hashes FROM 97)")
    refused = office.here("ledger", "seal")
    assert refused.code == 1 and "not signed: the tree is not the one that was signed at 14 entries" in refused.err
    seals = next(one for one in office.here("doctor", "--json").json()["checks"] if one["name"] == "seals")
    assert len(seals["differences"]) == 2
    assert "not be exported" not in office.here("ledger", "verify").out
    assert "stopped before" in office.here("ledger", "seal").err
