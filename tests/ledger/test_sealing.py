"""Sealing a real ledger, and what a superuser did to it afterwards."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from remit.jobs.sealing import AlteredError, Sealer
from remit.ledger.canonical import INSTANTS, encode_row
from remit.ledger.checkpoint import SignerKey, open_note, signer_key
from remit.ledger.export import ExportError, verify_export
from remit.ledger.merkle import EMPTY_ROOT, extends, includes, leaf_hash
from remit.ledger.proving import NotProvableError, prove_entry, prove_growth
from remit.ledger.service import check_books
from remit.store.postgres_seals import SealedElsewhereError, Sealing, TreeConflictError
from tests.ledger import naive
from tests.ledger.sealed import KEY, SealedTrial
from tests.store.database import fresh_database


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[SealedTrial]:
    made = SealedTrial(fresh_database(), tmp_path)
    yield made
    made.close()


@pytest.fixture
def sealed(trial: SealedTrial) -> SealedTrial:
    """Thirty entries, sealed in two parts."""
    trial.spend(20)
    trial.seal()
    trial.spend(10)
    trial.seal()
    return trial


def entries(trial: SealedTrial) -> list[bytes]:
    rows = trial.looking.execute("SELECT row_to_json(e)::text FROM entries AS e ORDER BY seq").fetchall()
    return [encode_row(row[0]) for row in rows]


def test_what_is_signed_is_the_tree_of_all_entries(sealed: SealedTrial) -> None:
    """In the order of their numbers, by the definition; the file and the database have every checkpoint."""
    lines = entries(sealed)
    assert [(one.size, one.root) for one in sealed.checkpoints()] == [
        (20, naive.mth(lines[:20])), (30, naive.mth(lines))
    ]  # fmt: skip
    with sealed.seals.snapshot() as reads:
        assert "\n".join(reads.notes(KEY.name)) == sealed.log.path.read_text(encoding="utf-8")
    verdict = sealed.verify()
    assert (verdict.faults, verdict.end, len(verdict.compared)) == ((), 30, 2)


def test_an_empty_ledger_is_not_signed(trial: SealedTrial) -> None:
    """There is nothing to say yet, and nothing is left behind."""
    assert trial.sealer.seal() is None
    assert not trial.log.path.exists() and trial.count("ledger_tiles") == 0


def test_sealing_again_changes_nothing(sealed: SealedTrial) -> None:
    """Without a new entry there is no new seal and no new checkpoint."""
    before = sealed.log.path.read_bytes(), sealed.count("ledger_seals")
    assert sealed.seal().size == 30
    assert (sealed.log.path.read_bytes(), sealed.count("ledger_seals")) == before


def test_many_entries_fill_tiles(trial: SealedTrial) -> None:
    """Sealed in parts of any size, tiles above the leaves' come to be; about 35 bytes are kept for an entry."""
    trial.spend(3)
    trial.multiply(700)
    trial.seal()
    trial.multiply(1500)
    trial.seal()
    assert trial.count("ledger_tiles WHERE level = 1") == 1
    assert trial.verify().faults == ()
    assert trial.checkpoints()[-1].root == naive.mth(entries(trial))
    assert trial.verify_export(trial.export()).faults == ()
    trial.tamper("UPDATE ledger_tiles SET hashes = substring(hashes FOR 32) || hashes WHERE level = 1")
    assert [one.kind for one in trial.verify().faults] == ["hashes"]


ADD = """INSERT INTO entries OVERRIDING SYSTEM VALUE SELECT (e).* FROM (SELECT jsonb_populate_record(e, jsonb_build_object(
    'seq', {21} + 1, 'id', 'entry_x', 'hold_id', 'hold_x')) AS e FROM entries AS e WHERE seq = {3}) AS made"""
# What is done (`{5}` is the number of the entry at index 5), what that is, and where.
TAMPERING: dict[str, tuple[list[str], str, int]] = {
    "edited": (["UPDATE entries SET amount_nanousd = amount_nanousd - 1 WHERE seq = {5}"], "edited", 5),
    "edited inside": (["UPDATE entries SET tags = jsonb_build_object('team', 'x') WHERE seq = {25}"], "edited", 25),
    "removed": (["DELETE FROM entries WHERE seq = {7}"], "missing", 7),
    "removed at the end": (["DELETE FROM entries WHERE seq = {29}"], "missing", 29),
    "inserted": (
        [
            "UPDATE entries SET seq = seq + 1000 WHERE seq > {21}",
            ADD,
            "UPDATE ledger_seals SET last_seq = last_seq + 1000 WHERE size = 30",
        ],
        "added",
        22,
    ),
    "swapped": (
        [
            "UPDATE entries SET seq = -1 WHERE seq = {11}",
            "UPDATE entries SET seq = {11} WHERE seq = {12}",
            "UPDATE entries SET seq = {12} WHERE seq = -1",
        ],
        "reordered",
        11,
    ),
    "moved": (
        [
            "UPDATE entries SET seq = {29} + 100 WHERE seq = {2}",
            "UPDATE ledger_seals SET last_seq = last_seq + 100 WHERE size = 30",
        ],
        "reordered",
        2,
    ),
}


@pytest.mark.parametrize("how", TAMPERING)
def test_a_superusers_tampering_is_found(sealed: SealedTrial, how: str) -> None:
    """With hashes made anew the books' check sees nothing; the tree tells what and where, in the database and an export of it."""
    statements, kind, index = TAMPERING[how]
    # An identity column is no obstacle to a superuser.
    sealed.looking.execute("ALTER TABLE entries ALTER COLUMN seq SET GENERATED BY DEFAULT")
    sealed.tamper(*(one.format(*sealed.seqs()) for one in statements))
    hashes = {result.name: result for result in check_books(sealed.ledger)}["hashes"]
    assert hashes.differences == ()
    for verdict in (sealed.verify(), sealed.verify_export(sealed.export())):
        first = verdict.faults[0]
        assert (first.kind, first.index) == (kind, index), verdict.faults


def rewrite_tree(trial: SealedTrial) -> None:
    """What a superuser does who knows the tree: tiles and seals anew from the entries as they are now."""
    trial.tamper("DELETE FROM ledger_tiles", "DELETE FROM ledger_seals")
    with trial.seals.alone() as work:
        while work.append(work.watermark(), trial.clock.now()):
            pass


def test_rewritten_tiles_get_no_signature(sealed: SealedTrial) -> None:
    """Who rewrote entries and tree gets none for it, now or ever: security is paged, and nothing is signed until somebody looks."""
    sealed.tamper("UPDATE entries SET amount_nanousd = 1 WHERE seq = (SELECT min(seq) FROM entries)")
    rewrite_tree(sealed)
    (fault,) = sealed.verify().faults
    assert (fault.kind, fault.index) == ("rewritten", 0) and "up to 20" in fault.detail
    published = sealed.log.path.read_bytes()
    sealed.spend(1)
    with pytest.raises(AlteredError, match="not the one that was signed at 30 entries"):
        sealed.seal()
    pages = sealed.looking.execute(
        "SELECT kind, audience, body ->> 'detail' FROM notifications WHERE dimension = 'ledger'"
    )
    ((kind, audience, detail),) = pages.fetchall()
    assert (kind, audience) == ("finding", "security") and "not signed any more" in detail
    sealed.tamper("UPDATE entries SET amount_nanousd = 20 WHERE seq = (SELECT min(seq) FROM entries)")
    rewrite_tree(sealed)
    with pytest.raises(AlteredError, match="stopped before"):
        sealed.seal()
    assert sealed.log.path.read_bytes() == published
    sealed.log.stopped.unlink()
    assert sealed.seal().size == 31 and sealed.verify().faults == ()


def test_a_change_between_sealing_and_signing_is_not_signed(sealed: SealedTrial) -> None:
    """What is signed is what the entries are then, not what tiles say."""
    sealed.spend(3)
    with sealed.seals.alone() as work:
        assert work.append(work.watermark(), sealed.clock.now())
    sealed.tamper("UPDATE entries SET amount_nanousd = 1 WHERE seq = (SELECT max(seq) FROM entries)")
    with pytest.raises(AlteredError, match="index 32: edited"):
        sealed.seal()
    assert sealed.checkpoints()[-1].size == 30


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            "DELETE FROM ledger_seals WHERE size = 30; DELETE FROM entries WHERE seq > (SELECT max(last_seq) FROM ledger_seals)",
            "become smaller",
        ),
        ("UPDATE entries SET note = 'x'; DELETE FROM ledger_seals WHERE size = 30", "tiles only grow"),
        ("UPDATE ledger_tiles SET hashes = substring(hashes FOR 32)", "lacks hashes"),
        (
            "UPDATE ledger_tiles SET hashes = decode(repeat('00', 32), 'hex') || substring(hashes FROM 33)",
            "not the one",
        ),
    ],
)
def test_a_damaged_tree_stops_the_sealer(sealed: SealedTrial, damage: str, message: str) -> None:
    """Whether seals or tiles are gone or others, also where there is nothing new to sign."""
    sealed.tamper(*damage.split("; "))
    with pytest.raises(AlteredError, match=message):
        sealed.seal()
    assert sealed.log.why_stopped() is not None


def test_a_missing_or_strange_file_stops_the_sealer(sealed: SealedTrial) -> None:
    """A new file would begin a history of its own: the old one has to be put back, under the key that signed it."""
    text = sealed.log.path.read_bytes()
    latest = sealed.log.latest.read_bytes()
    other: SignerKey = signer_key(KEY.name, bytes(32))
    with pytest.raises(AlteredError, match="no signature"):
        Sealer(sealed.seals, lambda: other, sealed.log, sealed.clock).seal()
    sealed.log.stopped.unlink()
    sealed.log.path.unlink()
    sealed.log.latest.unlink()
    with pytest.raises(AlteredError, match="is not there, though a checkpoint of 30"):
        sealed.seal()
    sealed.log.stopped.unlink()
    sealed.log.path.write_bytes(text)
    sealed.log.latest.write_bytes(latest)
    assert sealed.seal().size == 30


class DiesError(Exception):
    """The process ends here."""


@pytest.mark.parametrize("step", ["watermark", "append", "_new_root", "_publish", "latest", "half", "publish"])
def test_a_sealer_that_dies_leaves_what_the_next_one_goes_on_from(
    sealed: SealedTrial, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any step: nothing is sealed twice, left out, or signed differently."""
    sealed.spend(5)

    def die(*_: Any) -> None:
        raise DiesError

    def half(raw: bytes) -> None:
        with sealed.log.path.open("ab") as file:
            file.write(b"\n" + raw[: len(raw) // 2])
        raise DiesError

    with monkeypatch.context() as patch:
        if step in ("watermark", "append", "publish"):
            patch.setattr(Sealing, step, die)
        elif step in ("latest", "half"):
            patch.setattr(sealed.log, "_append", die if step == "latest" else half)
        else:
            patch.setattr(Sealer, step, die)
        with pytest.raises(DiesError):
            sealed.seal()
    assert sealed.seal().size == 35
    assert [one.size for one in sealed.checkpoints()] == [20, 30, 35]
    assert sealed.verify().faults == ()
    with sealed.seals.snapshot() as reads:
        assert len(reads.notes(KEY.name)) == 3


def test_a_transaction_that_dies_in_the_middle_of_sealing_leaves_nothing(sealed: SealedTrial) -> None:
    """Tiles and seals are written together or not at all, also where the database ends the connection."""
    sealed.spend(3)
    tiles = sealed.looking.execute("SELECT * FROM ledger_tiles").fetchall()

    def seal_and_die() -> None:
        with sealed.seals.alone() as work:
            watermark = work.watermark()
            with work._connection.transaction():
                assert work.append(watermark, sealed.clock.now())
                pid = work._connection.info.backend_pid
                sealed.looking.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
                work.size()

    with pytest.raises(psycopg.OperationalError):
        seal_and_die()
    assert sealed.looking.execute("SELECT * FROM ledger_tiles").fetchall() == tiles
    assert sealed.seal().size == 33 and sealed.verify().faults == ()


def test_only_one_seals(sealed: SealedTrial) -> None:
    """A second sealer goes away; and where the lock does not hold it back, the table of seals does."""
    sealed.spend(2)
    with sealed.seals.alone(), pytest.raises(SealedElsewhereError), sealed.seals.alone():
        pass
    with sealed.seals._opens() as first, sealed.seals._opens() as second, ThreadPoolExecutor(1) as pool:
        one, two = Sealing(first), Sealing(second)
        watermark = one.watermark()
        first.execute("BEGIN")
        assert one.append(watermark, sealed.clock.now(), 1)
        waiting = pool.submit(two.append, watermark, sealed.clock.now(), 2)
        sealed.until_somebody_waits()
        first.execute("COMMIT")
        with pytest.raises(TreeConflictError, match="does not follow"):
            waiting.result()
    assert sealed.seal().size == 32 and sealed.verify().faults == ()


SETTLE = """SELECT finish_holds(now(), jsonb_build_array(jsonb_build_object('id', %s::text, 'outcome', 'settled', 'usd', 1,
    'tokens', 1, 'entry', '{"usage_source": "vendor", "model_served": "x"}'::jsonb)))"""


def test_settling_while_sealing_loses_nothing(trial: SealedTrial) -> None:
    """Four gateways settle, and numbers are drawn long before they are seen: each entry is sealed once, in its place."""
    stop = threading.Event()
    holds = [trial.hold(trial.leaf if number else trial.apart, 5, 1) for number in range(41)]
    assert all(trial.take(*holds))

    def keep_sealing() -> None:
        while not stop.is_set():
            trial.sealer.seal()

    def gateway(mine: list[Any]) -> None:
        with psycopg.connect(trial.url, autocommit=True, options="-c search_path=remit") as connection:
            for one in mine:
                connection.execute(SETTLE, (one.id,))

    # One has drawn its number and goes on for long, and a later number is there already: sealing must not pass it by.
    with psycopg.connect(trial.url, options="-c search_path=remit") as slow, ThreadPoolExecutor(5) as pool:
        slow.execute(SETTLE, (holds[0].id,))
        gateway(holds[1:2])
        first = pool.submit(trial.sealer.seal)
        trial.until_somebody_waits()
        rest = [pool.submit(gateway, holds[2 + part :: 4]) for part in range(4)]
        assert trial.count("ledger_seals") == 0
        slow.commit()
        first.result()
        sealing = pool.submit(keep_sealing)
        for one in rest:
            one.result()
        stop.set()
        sealing.result()
    assert trial.seal().size == 41 and trial.verify().faults == ()
    assert trial.checkpoints()[-1].root == naive.mth(entries(trial))
    row = trial.looking.execute("SELECT sum(size - first_index), max(size) FROM ledger_seals").fetchone()
    assert row == (41, 41)


def test_a_writer_of_entries_that_forgets_the_tree_is_waited_for(trial: SealedTrial) -> None:
    """Whoever inserts takes the tree's lock before the first number is drawn, by the table's own trigger."""
    trial.spend(1)
    insert = (
        "INSERT INTO entries OVERRIDING USER VALUE SELECT (e).* FROM (SELECT jsonb_populate_record(e, jsonb_build_object("
        "'id', 'entry_y', 'hold_id', 'hold_y')) AS e FROM entries AS e) AS made"
    )
    later = insert.replace("_y", "_z").replace("FROM entries AS e)", "FROM entries AS e LIMIT 1)")
    with psycopg.connect(trial.url, options="-c search_path=remit") as writer, ThreadPoolExecutor(1) as pool:
        writer.execute(insert.encode())
        trial.looking.execute(later.encode())
        waiting = pool.submit(trial.seal)
        trial.until_somebody_waits()
        writer.commit()
        assert waiting.result().size == 3


def test_what_cannot_be_sealed_cannot_be_booked(trial: SealedTrial) -> None:
    """No fraction, no integer beyond 64 bits and no endless nesting: one such entry would keep all after it unsealed."""
    trial.spend(1)
    for value in ('{"x": 0.5}', '{"x": [9223372036854775808]}', '{"x": 1e300}', f'{{"x": {"[" * 40}1{"]" * 40}}}'):
        with pytest.raises(psycopg.errors.CheckViolation, match="entries_can_be_sealed"):
            trial.looking.execute(
                "INSERT INTO entries OVERRIDING USER VALUE SELECT (e).* FROM (SELECT jsonb_populate_record(e, jsonb_build_object("
                "'id', 'entry_y', 'hold_id', 'hold_y', 'usage', %s::jsonb)) AS e FROM entries AS e) AS made",
                (value,),
            )


def test_every_column_of_an_entry_has_a_form(trial: SealedTrial) -> None:
    """A column of a type that the form does not know yet, or an instant it would not write as one, does not go unnoticed."""
    rows = trial.looking.execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'remit' AND table_name = 'entries'"
    ).fetchall()
    kinds = {kind for name, kind in rows if name != "entry_hash"}
    assert kinds <= {
        "text",
        "bigint",
        "integer",
        "smallint",
        "boolean",
        "jsonb",
        "ARRAY",
        "date",
        "timestamp with time zone",
    }
    assert {name for name, kind in rows if kind == "timestamp with time zone"} == INSTANTS


def test_tree_tables_only_grow(sealed: SealedTrial) -> None:
    """The authority, who writes them, can take nothing back; nor can the owner, while triggers are on."""
    hashes = "UPDATE ledger_tiles SET hashes = decode(repeat('00', 64), 'hex'), rest = ''"
    for connection in (sealed.authority, sealed.looking):
        with pytest.raises(psycopg.errors.IntegrityError, match="only grow"):
            connection.execute(hashes)
    for statement in ("DELETE FROM ledger_tiles", "DELETE FROM ledger_seals", "UPDATE ledger_checkpoints SET size = 1"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            sealed.authority.execute(statement.encode())
        with pytest.raises(psycopg.errors.IntegrityError, match="append-only"):
            sealed.looking.execute(statement.encode())


def test_proofs_lead_to_what_was_signed(sealed: SealedTrial) -> None:
    """Of an entry, and of growth from one checkpoint to the next; an altered entry has no proof."""
    first, second = sealed.checkpoints()
    with sealed.seals.snapshot() as reads:
        rows = sealed.looking.execute("SELECT id FROM entries ORDER BY seq").fetchall()
        for index in (0, 19, 20, 29):
            proof = prove_entry(reads, rows[index][0])
            assert proof.note is not None and open_note(proof.note, KEY.verifier()) == second
            assert proof.index == index
            assert includes(leaf_hash(proof.entry), index, 30, proof.path, second.root)
        growth = prove_growth(reads, 20, 30)
        assert extends(20, first.root, 30, second.root, growth.path)
        for asked in (("entry_x", None), (rows[25][0], 20), (rows[0][0], 31)):
            with pytest.raises(NotProvableError):
                prove_entry(reads, *asked)
        for sizes in ((0, 30), (21, 20), (20, 31)):
            with pytest.raises(NotProvableError):
                prove_growth(reads, *sizes)
    sealed.tamper("UPDATE entries SET note = 'x' WHERE seq = (SELECT min(seq) FROM entries)")
    with sealed.seals.snapshot() as reads, pytest.raises(NotProvableError, match="not what was sealed at index 0"):
        prove_entry(reads, rows[0][0])


def test_an_export_of_a_part_is_verified_alone(sealed: SealedTrial) -> None:
    """From any index up to any other, with nothing but the checkpoint and the key."""
    for since, until in ((0, 30), (0, 1), (7, 13), (19, 21), (20, 30), (29, 30)):
        lines = sealed.export(since, until)
        verdict = sealed.verify_export(lines)
        assert verdict.faults == () and (verdict.begin, verdict.end) == (since, until)
        assert [line for line in lines[1:] if not line.startswith(b'{"hashes"')] == [
            one + b"\n" for one in entries(sealed)[since:until]
        ]


def test_any_change_of_an_export_is_found(sealed: SealedTrial) -> None:
    """A line that is changed, lost, doubled or moved; and its hashes changed with it; a piece that is missing at the end."""
    lines = sealed.export()

    def verdict(*changed: bytes) -> tuple[str, int | None]:
        first = sealed.verify_export(list(changed)).faults[0]
        return first.kind, first.index

    assert verdict(*lines[:4], lines[4].replace(b"20", b"21"), *lines[5:]) == ("edited", 3)
    assert verdict(*lines[:4], *lines[5:]) == ("missing", 3)
    assert verdict(*lines[:4], b'{"id":"entry_x"}\n', *lines[4:]) == ("added", 3)
    assert verdict(*lines[:4], lines[5], lines[4], *lines[6:]) == ("reordered", 3)
    assert verdict(*lines, b'{"id":"entry_x"}\n') == ("added", 30)
    assert verdict(*lines[:4]) == ("added", 0)
    assert verdict(lines[0]) == ("missing", 0)
    forged = sealed.export()
    sealed.tamper("UPDATE entries SET amount_nanousd = 1 WHERE seq = (SELECT min(seq) FROM entries)")
    rewrite_tree(sealed)
    assert verdict(*sealed.export()) == ("rewritten", 0)
    assert forged == lines


@pytest.mark.parametrize(
    ("at", "line", "message"),
    [
        (0, b"", "line 1"),
        (0, b"{}", "line 1"),
        (0, b"\xff", "line 1"),
        (31, b'{"hashes":"AA"}', "line 32"),
        (31, b'{"hashes":1}', "line 32"),
        (31, b'{"hashes":"\xff"}', "line 32"),
    ],
)
def test_what_is_no_export_is_said_to_be_none(sealed: SealedTrial, at: int, line: bytes, message: str) -> None:
    """With the number of the line; never a traceback, and never taken for verified."""
    lines = sealed.export()
    lines[at] = line
    with pytest.raises(ExportError, match=message):
        sealed.verify_export(lines)


def test_an_export_older_than_the_checkpoint_is_not_verified_by_it(sealed: SealedTrial) -> None:
    """What is given has to be compared: an old export says nothing about the entries since."""
    old = sealed.export()
    sealed.spend(1)
    sealed.seal()
    assert [one.kind for one in sealed.verify_export(old).faults] == ["checkpoint"]
    assert verify_export(old, sealed.checkpoints(), KEY.verifier()).faults == ()
    with pytest.raises(ExportError, match="no signature of"):
        verify_export(old, [], signer_key(KEY.name, bytes(32)).verifier())
    assert EMPTY_ROOT not in {one.root for one in sealed.checkpoints()}
