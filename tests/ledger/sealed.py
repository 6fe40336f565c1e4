"""A ledger with some entries, a sealer of it, and a superuser who does as they like."""

from pathlib import Path
from typing import Any

from remit.jobs.sealing import Sealer
from remit.ledger.canonical import encode_row
from remit.ledger.checkpoint import Checkpoint, SignerKey, notes_in, open_note, signer_key
from remit.ledger.export import export_lines, verify_export
from remit.ledger.verify import Verdict, verify_sealed
from remit.store.checkpoint_log import CheckpointLog
from remit.store.connect import opener
from remit.store.postgres_seals import PostgresSeals
from tests.jobs.station import until
from tests.leases.trial import Trial, grant, usd

KEY: SignerKey = signer_key("remit/ledger/test", bytes(range(32)))


class SealedTrial(Trial):
    """Entries come by real settlements; `sealer` signs into files of a folder."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(url)
        root = self.write(grant("root", limits=(usd(10**9),)))
        self.leaf = self.write(grant("a", root, limits=(usd(10**9),)))
        self.apart = self.write(grant("apart", limits=(usd(10**9),)))
        self._copies = 0
        self.log = CheckpointLog(folder / "ledger.txt")
        self.seals = PostgresSeals(opener(url, "remit_authority"))
        self.sealer = Sealer(self.seals, lambda: KEY, self.log, self.clock)

    def spend(self, count: int) -> None:
        """So many entries."""
        for number in range(count):
            hold = self.hold(self.leaf, 50, 10)
            assert all(self.take(hold))
            self.settle(hold.id, 20 + number % 7, 4)

    def seal(self) -> Checkpoint:
        done = self.sealer.seal()
        assert done is not None
        return done

    def checkpoints(self) -> list[Checkpoint]:
        text = self.log.path.read_text(encoding="utf-8")
        return [open_note(note, KEY.verifier()) for note in notes_in(text)]

    def verify(self) -> Verdict:
        with self.seals.snapshot() as sealed:
            return verify_sealed(sealed, sealed.size(), self.checkpoints())

    def export(self, since: int = 0, until: int | None = None) -> list[bytes]:
        with self.seals.snapshot() as sealed:
            published = sealed.published(None)
            assert published is not None
            return list(export_lines(sealed, published.note, published.checkpoint, since, until))

    def verify_export(self, lines: list[bytes]) -> Verdict:
        return verify_export(lines, self.checkpoints()[-1:], KEY.verifier())

    def tamper(self, *statements: str) -> None:
        """As a superuser who switches triggers off and makes the hash of what they changed anew."""
        self.looking.execute("SET session_replication_role = replica")
        for statement in statements:
            self.looking.execute(statement.encode())
        self.looking.execute("UPDATE entries AS e SET entry_hash = hash_of(e) WHERE entry_hash <> hash_of(e)")
        self.looking.execute("RESET session_replication_role")

    def seqs(self) -> list[int]:
        return [row[0] for row in self.looking.execute("SELECT seq FROM entries ORDER BY seq").fetchall()]

    def multiply(self, count: int) -> None:
        """So many entries more, copies of the first with ids of their own, past the functions that settle."""
        columns = """SELECT string_agg(quote_ident(attname), ',') FROM pg_attribute WHERE attrelid = 'entries'::regclass
            AND attnum > 0 AND NOT attisdropped AND attname NOT IN ('seq', 'id', 'hold_id')"""
        self._copies += 1
        names = self.one(columns)
        self.looking.execute(
            f"INSERT INTO entries (id, hold_id, {names}) SELECT id || '_' || {self._copies} || '_' || n,"
            f" hold_id || '_' || {self._copies} || '_' || n, {names} FROM"
            f" (SELECT * FROM entries ORDER BY seq LIMIT 1) AS e, generate_series(1, {count}) AS n".encode()
        )

    def until_somebody_waits(self) -> None:
        """Until a connection to this database waits for another's lock."""
        question = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        until(lambda: self.one(question) > 0)

    def count(self, table: str) -> int:
        row: Any = self.looking.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
        return int(row[0])


def thirty(trial: SealedTrial) -> SealedTrial:
    """Thirty entries, sealed in two parts."""
    trial.spend(2)
    trial.multiply(18)
    trial.seal()
    trial.multiply(10)
    trial.seal()
    return trial


def entries(trial: SealedTrial) -> list[bytes]:
    """The bytes of all entries, in order."""
    rows = trial.looking.execute("SELECT row_to_json(e)::text FROM entries AS e ORDER BY seq").fetchall()
    return [encode_row(row[0]) for row in rows]


def rewrite_tree(trial: SealedTrial) -> None:
    """What a superuser does who knows the tree: tiles and seals anew from the entries as they are now."""
    trial.tamper("DELETE FROM ledger_tiles", "DELETE FROM ledger_seals")
    with trial.seals.alone() as work:
        while work.append(work.watermark(), trial.clock.now()):
            pass
