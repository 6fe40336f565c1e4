"""The ledger's tree in PostgreSQL: sealing entries, reading tiles and sealed entries, checkpoints."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import psycopg

from remit.ledger.canonical import UnsealableError, encode_row
from remit.ledger.checkpoint import Checkpoint
from remit.ledger.merkle import leaf_hash
from remit.ledger.model import ArchivedError
from remit.ledger.tiles import Growth, leaves_in
from remit.ledger.verify import Away, Block
from remit.store.archived_seals import (
    ArchivedRow,
    ArchiveUnreadableError,
    OpensArchive,
    Past,
    no_archive,
    refuse_unread,
)
from remit.store.connect import Opens
from remit.store.named import query

SEAL_AT_ONCE = 4096
_BLOCK = 2048
# More are in no block that was sealed; who adds a million gets no more of our memory.
_MAX_ROWS = 4 * SEAL_AT_ONCE


@dataclass(frozen=True, slots=True)
class Seal:
    """The entries with these numbers are the leaves from `first_index` up to `size`."""

    first_index: int
    size: int
    first_seq: int
    last_seq: int
    sealed_at: datetime


@dataclass(frozen=True, slots=True)
class Published:
    """A checkpoint as the database has it."""

    checkpoint: Checkpoint
    note: str
    signed_at: datetime


class SealedElsewhereError(Exception):
    """Another process seals just now."""


class TreeConflictError(Exception):
    """What is to be written does not continue the tree that is there; the message says how."""


class PostgresSeals:
    """Sealing in the authority's role; reading in that of whoever opens the connections, and from the archive."""

    def __init__(self, opens: Opens, archive: OpensArchive = no_archive) -> None:
        self._opens = opens
        self._archive = archive

    def here(self) -> "PostgresSeals":
        """The same, and no archive: of what has left the database it can say nothing."""
        return PostgresSeals(self._opens)

    @contextmanager
    def alone(self) -> Iterator["Sealing"]:
        """The work of the one process that seals now. Raises SealedElsewhereError."""
        with self._opens() as connection:
            row = connection.execute(query("seal_lock")).fetchone()
            if row is None or not row[0]:
                raise SealedElsewhereError
            try:
                connection.execute(query("in_order"))
                yield Sealing(connection)
            finally:
                # A connection that is gone has given its lock back.
                if not connection.closed:
                    connection.execute(query("in_any_order"))
                    connection.execute(query("seal_unlock"))

    @contextmanager
    def snapshot(self) -> Iterator["Sealed"]:
        """Everything as of one moment."""
        with self._opens() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            connection.execute(query("entries_shared"))
            connection.execute(query("in_order_now"))
            yield Sealed(connection, self._archive, self._opens)


class Sealed:
    """What is sealed: implements `remit.ledger.verify.SealedReads`."""

    def __init__(
        self, connection: psycopg.Connection, archive: OpensArchive = no_archive, afresh: Opens | None = None
    ) -> None:
        self._connection = connection
        self._archive = archive
        self._afresh = afresh

    @cached_property
    def _past(self) -> Past:
        # Reading the archive takes as long as it takes; what is locked meanwhile keeps nobody but months from leaving.
        self._connection.execute(query("patient_now"))
        return Past(self._connection, self._archive, self._afresh)

    def away(self) -> Sequence[Away]:
        return self._past.away()

    def why_unread(self) -> str | None:
        return self._past.why_unread()

    def strays(self) -> Sequence[str]:
        return self._past.strays()

    def last(self) -> Seal | None:
        row = self._connection.execute(query("seal_last")).fetchone()
        return None if row is None else Seal(*row)

    def size(self) -> int:
        last = self.last()
        return 0 if last is None else last.size

    def tile(self, level: int, number: int) -> bytes:
        row = self._connection.execute(query("tile_get"), {"level": level, "number": number}).fetchone()
        return b"" if row is None else bytes(row[0])

    def upper_tiles(self) -> Iterator[tuple[int, int, bytes]]:
        for level, number, hashes in self._connection.execute(query("tiles_above")):
            yield level, number, bytes(hashes)

    def blocks(self, begin: int, end: int) -> Iterator[Block]:
        """Entries from one index up to another; with what now has a number between those of sealed ones."""
        after = self._seq_before(begin)
        seals = [Seal(*row) for row in self._connection.execute(query("seals_from"), {"index": begin}).fetchall()]
        at, skipped = begin, begin - seals[0].first_index if seals else 0
        past = self._past.joined(after)
        for seal in seals:
            until = min(seal.size, end)
            if until - at < _BLOCK and until < end:
                continue
            found = past.until(seal.last_seq, self.rows(after, seal.last_seq, _MAX_ROWS), _MAX_ROWS)
            may_lack = self._past.may_lack(after, seal.last_seq)
            yield Block(at, until, found[skipped : len(found) - (seal.size - until)], may_lack)
            if until == end:
                return
            at, after, skipped = until, seal.last_seq, 0

    def rows(self, after: int, until: int, count: int | None) -> list[Any]:
        """(number, row as JSON) of entries between two numbers, the first left out."""
        asked = {"after": after, "until": until, "count": count}
        return self._connection.execute(query("seal_rows"), asked).fetchall()

    def tail(self) -> tuple[int, datetime | None]:
        """How many entries are not sealed yet, and since when the oldest is there."""
        row = self._connection.execute(query("seal_tail")).fetchone()
        assert row is not None
        return int(row[0]), row[1]

    def published(self, origin: str | None) -> Published | None:
        """The newest checkpoint of an origin, or of any."""
        row = self._connection.execute(query("checkpoint_last"), {"origin": origin}).fetchone()
        return None if row is None else Published(Checkpoint(row[0], row[1], bytes(row[2])), row[3], row[4])

    def notes(self, origin: str) -> list[str]:
        """Every note of an origin, oldest first."""
        return [row[0] for row in self._connection.execute(query("checkpoints_all"), {"origin": origin})]

    def find(self, entry_id: str, nodes: Sequence[str] | None = None) -> tuple[bytes, int | None] | None:
        """An entry's bytes and its index in the tree, which is None where it is not sealed yet.

        None where there is no such entry that one of these grants was charged for. Raises ArchivedError where it may be in an
        archive that cannot be read.
        """
        asked = {"id": entry_id, "nodes": None if nodes is None else list(nodes)}
        row = self._connection.execute(query("seal_row"), asked).fetchone()
        if row is None:
            return self._find_archived(entry_id, nodes)
        return encode_row(row[1]), self._index_of(row[0], encode_row(row[1]))

    def _find_archived(self, entry_id: str, nodes: Sequence[str] | None) -> tuple[bytes, int | None] | None:
        self._connection.execute(query("patient_now"))
        past = Past(self._connection, self._archive)  # what expires meanwhile is not found
        refuse_unread(past, f"`{entry_id}` is not in the database")
        archive = past.archive
        try:
            rows: list[ArchivedRow] = [] if archive is None else archive.find(entry_id)
        except ArchiveUnreadableError as error:
            raise ArchivedError(
                f"`{entry_id}` is not in the database, and the archive cannot be read: {error}"
            ) from None
        for row in rows:
            if row.line is not None and (nodes is None or set(nodes) & set(row.node_ids)):
                return row.line, self._index_of(row.seq, row.line)
        return None

    def _index_of(self, seq: int, entry: bytes) -> int | None:
        """Where the entry was sealed. Of one that is not what was sealed: by its number, as far as others are there."""
        found = self._connection.execute(query("seal_of_seq"), {"seq": seq}).fetchone()
        if found is None:
            return None
        first, size, rank = found
        leaves = list(leaves_in(self.tile, first, size))
        leaf = leaf_hash(entry)
        return int(first + (leaves.index(leaf) if leaf in leaves else min(rank, size - first - 1)))

    def _seq_before(self, index: int) -> int:
        """The last number of the seal before the one in which that index is."""
        row = self._connection.execute(query("seal_before"), {"index": index}).fetchone()
        return 0 if row is None or row[0] is None else int(row[0])


class Sealing(Sealed):
    """The work of the one process that seals."""

    def watermark(self) -> int:
        """The highest number below which no entry can appear any more, 0 in an empty ledger."""
        last = self.last()
        row = self._connection.execute(query("seal_watermark")).fetchone()
        if row is None or row[0] is None or (last is not None and row[0] <= last.last_seq):
            return 0 if last is None else last.last_seq  # nothing new: nobody has to wait
        with self._connection.transaction():
            # Whoever writes entries shares this lock first and until its end: now there is none, and none begun earlier.
            self._connection.execute("SELECT lock_tree(true)")
            row = self._connection.execute(query("seal_watermark")).fetchone()
        return 0 if row is None or row[0] is None else int(row[0])

    def append(self, watermark: int, now: datetime, at_once: int = SEAL_AT_ONCE) -> Seal | None:
        """Seals the next entries up to the watermark in one transaction; None where there are none.

        Raises UnsealableError for an entry that has no canonical form, TornTileError where tiles are damaged, and
        TreeConflictError where what is there is not what is to be continued.
        """
        try:
            return self._append(watermark, now, at_once)
        except psycopg.errors.IntegrityError as error:
            raise TreeConflictError(error.diag.message_primary or str(error)) from None

    def _append(self, watermark: int, now: datetime, at_once: int) -> Seal | None:
        with self._connection.transaction():
            last = self.last()
            size, after = (0, 0) if last is None else (last.size, last.last_seq)
            rows = self.rows(after, watermark, at_once)
            if not rows:
                return None
            growth = Growth(size, self.tile)
            growth.extend(_leaf(seq, row) for seq, row in rows)
            with self._connection.cursor() as cursor:
                tiles = [{"level": level, "number": n, "hashes": raw} for (level, n), raw in growth.changed.items()]
                cursor.executemany(query("tile_put"), tiles)
            seal = Seal(size, growth.size, rows[0][0], rows[-1][0], now)
            values = {"first_index": size, "size": seal.size, "first_seq": seal.first_seq, "last_seq": seal.last_seq}
            self._connection.execute(query("seal_insert"), {**values, "now": now})
        return seal

    def publish(self, checkpoint: Checkpoint, note: str, now: datetime) -> None:
        """Keeps a copy of what was published."""
        values = {
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": checkpoint.root,
            "note": note,
            "now": now,
        }
        self._connection.execute(query("checkpoint_put"), values)

    def page(self, detail: str, now: datetime) -> None:
        """Tells security, once a day."""
        self._connection.execute(query("seal_page"), {"detail": detail, "now": now})


def _leaf(seq: int, row: str) -> bytes:
    try:
        return leaf_hash(encode_row(row))
    except UnsealableError as error:
        raise UnsealableError(f"entry number {seq}: {error}") from None
