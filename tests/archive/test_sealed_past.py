"""A ledger that is partly in its archive verifies, is exported and is proved as a whole; what was done to either part is found."""

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from remit.jobs.sealing import Sealer
from remit.ledger.checkpoint import Checkpoint
from remit.ledger.export import export_lines, verify_export
from remit.ledger.merkle import includes, leaf_hash
from remit.ledger.model import ArchivedError
from remit.ledger.proving import NotProvableError, prove_entry
from remit.ledger.verify import Verdict, verify_sealed
from remit.store import archive_reader
from remit.store.archive_reader import open_archive
from remit.store.archive_rows import PARTITION_BY, SCHEMA
from remit.store.checkpoint_log import CheckpointLog
from remit.store.postgres_seals import PostgresSeals
from tests.archive.conftest import filled
from tests.archive.ground import NOW, Ground, superuser
from tests.ledger.sealed import KEY
from tests.store.database import copy_of

ENTRIES, GONE = 35, 28
Rows = list[dict[str, Any]]


class Sealed:
    """A ground whose ledger is sealed; `at` is where its archive is looked for."""

    def __init__(self, ground: Ground, folder: Path) -> None:
        self.ground = ground
        self.seals = PostgresSeals(ground.opens, self._opens)
        self.sealer = Sealer(self.seals, lambda: KEY, CheckpointLog(folder / "ledger.txt"), ground.trial.clock)
        self.checkpoint: Checkpoint = self.seal()
        self.at = ground.folder

    def _opens(self) -> archive_reader.ArchiveReader:
        return open_archive(str(self.at))

    def seal(self) -> Checkpoint:
        done = self.sealer.seal()
        assert done is not None
        self.checkpoint = done
        return done

    def verify(self, *, blind: bool = False) -> Verdict:
        seals = PostgresSeals(self.ground.opens) if blind else self.seals
        with seals.snapshot() as sealed:
            return verify_sealed(sealed, sealed.size(), [self.checkpoint])

    def export(self, *, blind: bool = False, since: int = 0, until: int | None = None) -> list[bytes]:
        seals = PostgresSeals(self.ground.opens) if blind else self.seals
        with seals.snapshot() as sealed:
            published = sealed.published(None)
            assert published is not None
            return list(export_lines(sealed, published.note, published.checkpoint, since, until))


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sealed]:
    """Four months are in the archive alone. Its tests change nothing of it but in copies."""
    folder = tmp_path_factory.mktemp("past")
    ground = Ground(copy_of(filled().trial.url), folder / "archive", filled())
    made = Sealed(ground, folder)
    assert len(ground.archive().dropped) == 4
    yield made
    ground.close()


@pytest.fixture
def apart(ground: Ground, tmp_path: Path) -> Sealed:
    """The same for who changes it."""
    made = Sealed(ground, tmp_path)
    assert len(ground.archive().dropped) == 4
    return made


@pytest.fixture
def damaged(past: Sealed, tmp_path: Path) -> Iterator[Callable[[Callable[[Rows], Rows]], Verdict]]:
    """What verifying answers when a copy of the archive was rewritten."""

    def verdict(change: Callable[[Rows], Rows]) -> Verdict:
        past.at = tmp_path / "copy"
        shutil.copytree(past.ground.folder, past.at)
        rows = change(sorted(DeltaTable(str(past.at)).to_pyarrow_table().to_pylist(), key=lambda row: row["seq"]))
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        write_deltalake(str(past.at), table, mode="overwrite", partition_by=PARTITION_BY)
        return past.verify()

    yield verdict
    past.at = past.ground.folder


def kinds(verdict: Verdict) -> set[str]:
    return {one.kind for one in verdict.faults}


def amounts(lines: list[bytes]) -> int:
    return sum(line.startswith(b'{"amount_nanousd"') for line in lines)


# Verifying -----------------------------------------------------------------------------------------------------


def test_a_ledger_verifies_with_its_archive(past: Sealed) -> None:
    """Every entry is compared, wherever it is, and nothing is called missing that is in the archive."""
    verdict = past.verify()
    assert (verdict.outcome, verdict.end, verdict.unseen, verdict.faults) == ("verified", ENTRIES, 0, ())


def test_the_archive_is_read_a_part_at_a_time(past: Sealed, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the parts are, the answer is the same."""
    monkeypatch.setattr(archive_reader, "WINDOW", 3)
    assert past.verify().outcome == "verified"


def test_without_the_archive_it_says_what_it_did_not_look_at(past: Sealed) -> None:
    """Entries that are known to be in it are not called missing, and the ledger is not called verified."""
    verdict = past.verify(blind=True)
    assert (verdict.outcome, verdict.unseen, verdict.faults) == ("incomplete", GONE, ())
    assert [(one.how, one.entries) for one in verdict.away] == [("archived", GONE)]
    assert verdict.why_unseen == "no archive is set here (`archive.path`)"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rows: [{**row, "owner": "eve@acme.example"} if row["seq"] == 3 else row for row in rows],
         {"edited", "archive"}),
        (lambda rows: [row for row in rows if row["seq"] != 3], {"missing", "archive"}),
        (lambda rows: [*rows, {**rows[2], "id": "entry_new"}], {"added", "archive"}),
        (lambda rows: [{**row, "seq": {3: 4, 4: 3}.get(row["seq"], row["seq"])} for row in rows],
         {"reordered", "archive"}),
        (lambda rows: [{**row, "month": "2026-03"} if row["seq"] == 3 else row for row in rows],
         {"edited", "archive"}),
        (lambda rows: [{**row, "entry_hash": b"\0"} if row["seq"] == 3 else row for row in rows], {"archive"}),
        (lambda rows: [{**row, "tags": "{"} if row["seq"] == 3 else row for row in rows], {"edited", "archive"}),
    ],
    ids=["edited", "removed", "inserted", "reordered", "moved to another month", "another hash", "not JSON"],
)  # fmt: skip
def test_what_was_done_to_the_archive_is_found(
    damaged: Callable[[Callable[[Rows], Rows]], Verdict], change: Callable[[Rows], Rows], expected: set[str]
) -> None:
    """By its leaf's hash, and by the digest that was kept when it was written and read back."""
    verdict = damaged(change)
    assert (verdict.outcome, kinds(verdict)) == ("differs", expected)
    assert len(verdict.faults) <= 3


def test_an_archived_copy_of_what_is_still_here_is_compared(apart: Sealed) -> None:
    """Before its month leaves: an entry that is another there than here is a fault."""
    ground = apart.ground
    ground.trial.clock.instant = NOW + timedelta(days=5)
    ground.call(ground.a)
    ground.fold()
    apart.seal()
    ground.trial.looking.execute("UPDATE books SET closed_through = '2026-06-01'")
    assert ground.archive().dropped == []
    here = ground.trial.one("SELECT max(seq) FROM entries")
    assert apart.verify().outcome == "verified"
    rows = DeltaTable(str(ground.folder)).to_pyarrow_table().to_pylist()
    table = pa.Table.from_pylist([{**row, "amount_nanousd": 1} if row["seq"] == here else row for row in rows], SCHEMA)
    write_deltalake(str(ground.folder), table, mode="overwrite", partition_by=PARTITION_BY)
    assert kinds(apart.verify()) == {"added", "archive"}
    DeltaTable(str(ground.folder)).delete(f"seq = {here}")
    assert kinds(apart.verify()) == {"archive"}
    assert any("is in the database and not in it" in one.detail for one in apart.verify().faults)


def test_a_file_that_cannot_be_read_is_a_fault(past: Sealed, tmp_path: Path) -> None:
    """Nor is there an export of it."""
    past.at = tmp_path / "copy"
    shutil.copytree(past.ground.folder, past.at)
    try:
        for file in past.at.glob("month=*/**/*.parquet"):
            file.write_bytes(b"torn")
        verdict = past.verify()
        assert verdict.outcome == "differs"
        assert {"missing", "archive"} == kinds(verdict)
        assert any("cannot be read" in one.detail for one in verdict.faults)
        with pytest.raises(ArchivedError, match="cannot be read"):
            past.export()
    finally:
        past.at = past.ground.folder


def test_an_archive_that_ends_too_early_is_a_fault(past: Sealed, tmp_path: Path) -> None:
    """It is not the one that was written to, however whole it is in itself."""
    past.at = tmp_path / "copy"
    write_deltalake(str(past.at), pa.Table.from_pylist([], SCHEMA), partition_by=PARTITION_BY)
    try:
        verdict = past.verify()
        assert (verdict.outcome, kinds(verdict), verdict.unseen) == ("differs", {"archive"}, GONE)
    finally:
        past.at = past.ground.folder


def test_an_entry_that_was_changed_here_is_found(apart: Sealed) -> None:
    """Also one that is in the archive as well, of a month that had left before it came; and also where the archive cannot be read.

    No more can lack than have left.
    """
    ground = apart.ground
    ground.trial.clock.instant = datetime(2026, 2, 3, tzinfo=UTC)
    ground.call(ground.a)
    ground.trial.clock.instant = NOW
    ground.fold()
    apart.seal()
    ground.trial.looking.execute("UPDATE books SET closed_through = '2026-06-01'")
    ground.archive()
    last = ground.trial.one("SELECT max(seq) FROM entries")
    assert last <= ground.books.segments()[-1].last_seq
    with superuser(ground.trial.url) as owner:
        owner.execute("UPDATE entries SET amount_nanousd = 1 WHERE seq = %s", (last,))
        verdict = apart.verify(blind=True)
        assert (verdict.outcome, kinds(verdict), verdict.unseen) == ("differs", {"edited"}, GONE)
        assert kinds(apart.verify()) == {"added"}
        owner.execute("DELETE FROM entries WHERE seq = %s", (last,))
    verdict = apart.verify()
    assert (verdict.outcome, [(one.kind, one.index) for one in verdict.faults]) == (
        "differs", [("missing", ENTRIES)])  # fmt: skip
    verdict = apart.verify(blind=True)
    assert (verdict.outcome, kinds(verdict)) == ("differs", {"missing"})
    assert "1 are missing" in verdict.faults[0].detail


# Exports and proofs --------------------------------------------------------------------------------------------


def test_an_export_is_whole(past: Sealed) -> None:
    """And verifies without database and archive."""
    lines = past.export()
    assert amounts(lines) == ENTRIES
    verdict = verify_export(lines, [past.checkpoint], KEY.verifier(), whole=True)
    assert (verdict.outcome, verdict.end, verdict.faults) == ("verified", ENTRIES, ())


def test_a_part_begins_in_the_middle_of_a_segment(past: Sealed) -> None:
    """Whatever it begins and ends with."""
    lines = past.export(since=5, until=20)
    assert amounts(lines) == 15
    assert verify_export(lines, [past.checkpoint], KEY.verifier()).outcome == "verified"


def test_nothing_is_exported_that_cannot_be_read(past: Sealed) -> None:
    """An export with a fifth of the ledger would look like one."""
    with pytest.raises(ArchivedError, match="are in the archive, and it cannot be read: no archive is set here"):
        past.export(blind=True)


def test_what_is_archived_is_proved(past: Sealed) -> None:
    """By its bytes there, at its own place; and only to who may see it."""
    rows = sorted(DeltaTable(str(past.ground.folder)).to_pyarrow_table().to_pylist(), key=lambda row: row["seq"])
    with past.seals.snapshot() as sealed:
        for index in (0, 13, GONE - 1):
            proof = prove_entry(sealed, rows[index]["id"], nodes=["grant_root"])
            assert proof.index == index
            leaf = leaf_hash(proof.entry)
            assert includes(leaf, index, proof.size, proof.path, past.checkpoint.root)
        for name, nodes in (("entry_nobody", None), (rows[0]["id"], ["grant_other"])):
            with pytest.raises(NotProvableError) as caught:
                prove_entry(sealed, name, nodes=nodes)
            assert caught.value.is_unknown
    with PostgresSeals(past.ground.opens).snapshot() as sealed, pytest.raises(ArchivedError, match="no archive is set"):
        prove_entry(sealed, rows[0]["id"])


def test_an_archived_entry_that_was_altered_is_not_proved(past: Sealed, damaged: Callable[..., Verdict]) -> None:
    """It leads to no root."""
    ids: list[str] = []

    def change(rows: Rows) -> Rows:
        ids.append(rows[2]["id"])
        return [{**row, "amount_nanousd": 1} if row["seq"] == 3 else row for row in rows]

    damaged(change)
    with past.seals.snapshot() as sealed, pytest.raises(NotProvableError, match="is not what was sealed"):
        prove_entry(sealed, ids[0])


# Retention -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def expired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sealed]:
    """Experiments of the first two months have expired. Its tests change nothing of it but in copies."""
    folder = tmp_path_factory.mktemp("expired")
    ground = Ground(copy_of(filled().trial.url), folder / "archive", filled())
    made = Sealed(ground, folder)
    assert len(ground.archive().dropped) == 4
    ground.trial.clock.instant = NOW + timedelta(days=1)
    done = ground.archive(keep_months={"experimentation": 3})
    assert done.expired == ["2026-01 experimentation", "2026-02 experimentation"]
    yield made
    ground.close()


def test_what_expired_is_not_missing(expired: Sealed) -> None:
    """It is said what it was and since when; its hashes are still in the tree, and everything else is compared."""
    verdict = expired.verify()
    assert (verdict.outcome, verdict.faults, verdict.end) == ("verified", (), ENTRIES)
    assert verdict.unseen == sum(one.entries for one in verdict.away) > 0
    assert [(one.how, one.name) for one in verdict.away] == [
        ("expired", "2026-01 experimentation"), ("expired", "2026-02 experimentation")]  # fmt: skip
    kept = expired.ground.trial.looking.execute("SELECT digest FROM expired_months ORDER BY month").fetchall()
    assert [one.digest for one in verdict.away] == [bytes(row[0]) for row in kept]


def test_more_than_expired_is_missing(expired: Sealed, tmp_path: Path) -> None:
    """An entry that is taken away among those that expired is one too many."""
    expired.at = tmp_path / "copy"
    shutil.copytree(expired.ground.folder, expired.at)
    rows = DeltaTable(str(expired.at)).to_pyarrow_table().to_pylist()
    DeltaTable(str(expired.at)).delete(f"seq = {min(row['seq'] for row in rows)}")
    verdict = expired.verify()
    expired.at = expired.ground.folder
    assert (verdict.outcome, kinds(verdict)) == ("differs", {"missing"})
    assert "1 are missing" in verdict.faults[0].detail


def test_without_the_archive_both_are_told_apart(expired: Sealed) -> None:
    """What is somewhere else, and what is gone for good."""
    verdict = expired.verify(blind=True)
    told = {how: sum(one.entries for one in verdict.away if one.how == how) for how in ("archived", "expired")}
    assert verdict.outcome == "incomplete"
    assert verdict.unseen == GONE == told["archived"] + told["expired"]


def test_an_export_names_what_expired(expired: Sealed) -> None:
    """Who verifies it hears what is not there, on the export's word alone; more than that is missing."""
    lines = expired.export()
    verdict = verify_export(lines, [expired.checkpoint], KEY.verifier(), whole=True)
    assert (verdict.outcome, verdict.faults) == ("incomplete", ())
    assert verdict.unseen == ENTRIES - amounts(lines) == sum(one.entries for one in verdict.away)
    assert "nobody signed" in str(verdict.why_unseen)
    at = next(at for at, line in enumerate(lines) if line.startswith(b'{"amount_nanousd"'))
    verdict = verify_export([*lines[:at], *lines[at + 1 :]], [expired.checkpoint], KEY.verifier(), whole=True)
    assert (verdict.outcome, kinds(verdict)) == ("differs", {"missing"})


def test_a_month_that_expires_while_it_is_read_is_not_missing(apart: Sealed) -> None:
    """It was written down before it went, and that is looked at once the archive is open."""
    ground = apart.ground
    expires = partial(ground.archive, keep_months={"experimentation": 3})

    def opens() -> archive_reader.ArchiveReader:
        ground.trial.clock.instant = NOW + timedelta(days=1)
        assert expires().expired
        return open_archive(str(ground.folder))

    with PostgresSeals(ground.opens, opens).snapshot() as sealed:
        verdict = verify_sealed(sealed, sealed.size(), [apart.checkpoint])
    assert (verdict.outcome, verdict.unseen > 0) == ("verified", True)


def test_a_month_that_leaves_while_it_is_verified_waits(apart: Sealed) -> None:
    """What was there at the beginning is there until the end."""
    ground = apart.ground
    ground.trial.clock.instant = NOW + timedelta(days=30)
    with apart.seals.snapshot() as sealed:
        assert ground.archive().kept == {"entries_2026_05": "busy"}
        assert verify_sealed(sealed, sealed.size(), [apart.checkpoint]).outcome == "verified"
    assert ground.archive().dropped == ["entries_2026_05"]
