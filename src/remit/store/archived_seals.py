"""Sealed entries wherever they are: those of the database and those of the archive, and what has left both."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, Protocol

import msgspec
import psycopg
from psycopg.rows import namedtuple_row

from remit.ledger.canonical import UnsealableError, encode_row
from remit.ledger.model import ArchivedError
from remit.ledger.verify import Away
from remit.store.archive_sums import Sums
from remit.store.connect import Opens
from remit.store.named import query

SPEND: Final = frozenset({"usage", "overage", "suspense", "correction"})
"""The kinds of entries that leave the database with their month, as the database's is_spend says."""


class ArchiveUnreadableError(Exception):
    """The archive cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class ArchivedRow:
    """An entry of the archive: its row as JSON and its canonical line, None where it has none or stands in the wrong month."""

    seq: int
    row: bytes
    line: bytes | None
    kind: str
    entry_class: str
    held_at: datetime | None
    entry_hash: bytes
    amount_nanousd: int
    node_ids: Sequence[str]


class ReadsArchive(Protocol):
    """One version of the archive."""

    last_seq: int

    def rows(
        self, first_seq: int, last_seq: int, damaged: Callable[[str], None] | None = None
    ) -> Iterator[ArchivedRow]: ...

    def find(self, entry_id: str) -> list[ArchivedRow]: ...

    def of_months(self, months: Iterable[date]) -> Iterator[ArchivedRow]: ...


OpensArchive = Callable[[], ReadsArchive]
"""The present version. Raises ArchiveUnreadableError."""


def no_archive() -> ReadsArchive:
    """For who was given none. Raises ArchiveUnreadableError."""
    raise ArchiveUnreadableError("no archive is set here (`archive.path`)")


class Past:
    """What is in segments, as of one moment of the database, and the archive, opened when it is first needed.

    Opened after that moment it has at least these segments. What expires meanwhile was written down before it went: `afresh` is
    a connection that sees that, and the same one where nobody minds.
    """

    def __init__(self, connection: psycopg.Connection, opens: OpensArchive, afresh: Opens | None = None) -> None:
        self._segments = _rows(connection, "segments_all")
        self._left = _rows(connection, "partitions_left")
        self.last_seq: int = self._segments[-1].last_seq if self._segments else 0
        self.unread: str | None = None
        self._archive: ReadsArchive | None = None
        self._strays: list[str] = []
        if self._segments:
            self._open(opens)
        with nullcontext(connection) if afresh is None else afresh() as current:
            self._expired = _rows(current, "expiries_left")

    @property
    def archive(self) -> ReadsArchive | None:
        """None where there is nothing in it, or it cannot be read."""
        return self._archive

    def _open(self, opens: OpensArchive) -> None:
        try:
            archive = opens()
        except ArchiveUnreadableError as error:
            self.unread = str(error)
            return
        if archive.last_seq < self.last_seq:
            self.unread = f"it ends at entry number {archive.last_seq}, and was written up to {self.last_seq}"
            self._strays.append(f"the archive is not the one that was written to: {self.unread}")
            return
        self._archive = archive

    def away(self) -> list[Away]:
        """What has left and cannot be read."""
        gone = sum(one.gone for one in self._expired)
        found = [
            Away("expired", f"{one.month:%Y-%m} {one.entry_class}", one.gone, one.gone_at, bytes(one.digest))
            for one in self._expired
        ]
        if self._archive is None and (kept := sum(one.gone for one in self._left) - gone) > 0:
            names = ", ".join(one.name for one in self._left)
            found.append(Away("archived", names, kept, self._left[-1].dropped_at))
        return found

    def why_unread(self) -> str | None:
        """Why it is not read, where something is in it alone."""
        return self.unread if any(one.how == "archived" for one in self.away()) else None

    def strays(self) -> list[str]:
        """How the archive, as far as it was read, is not what was written to it."""
        return list(self._strays)

    def may_lack(self, after: int, last_seq: int) -> bool:
        """Whether entries with numbers beyond one and up to another may have left and cannot be read."""
        spans = [(one.first_seq, one.last_seq) for one in self._expired]
        if self._archive is None and self._left:
            spans.append((1, max(one.summed_seq for one in self._left)))
        return any(first <= last_seq and last > after for first, last in spans)

    def is_gone(self, row: ArchivedRow) -> bool:
        """Whether an entry of the archive is, as it should be, no longer in the database."""
        return row.kind in SPEND and row.held_at is not None and any(
            one.begins <= row.held_at < one.ends and row.seq <= one.summed_seq for one in self._left
        )  # fmt: skip

    def has_expired(self, month: str, entry_class: str, seq: int) -> bool:
        """Whether an entry that the database has should not be in the archive any more."""
        return any(
            (f"{one.month:%Y-%m}", one.entry_class) == (month, entry_class) and one.first_seq <= seq <= one.last_seq
            for one in self._expired
        )

    def expired_of(self, months: Collection[date]) -> str | None:
        """What of these months is neither here nor in the archive any more, in words."""
        found = [one for one in self._expired if one.month in months and one.gone]
        names = ", ".join(f"{one.month:%Y-%m} {one.entry_class} ({one.gone:,})" for one in found)
        return f"{names} expired by retention on {max(one.gone_at for one in found):%Y-%m-%d}" if found else None

    def joined(self, after: int) -> "Joined":
        """Entries beyond a number, as they are asked for."""
        return Joined(self, after)

    def segments_within(self, after: int) -> list[tuple[Any, bool]]:
        """Segments that end beyond a number, and whether the digest can be made again: all of it is there, and is read."""
        spans = [(one.first_seq, one.last_seq) for one in self._expired]
        return [
            (one, one.first_seq > after and not any(a <= one.last_seq and b >= one.first_seq for a, b in spans))
            for one in self._segments
            if one.last_seq > after
        ]

    def note(self, text: str) -> None:
        """Keeps how the archive is not what was written to it; of very many not all."""
        if len(self._strays) < _MAX_STRAYS:
            self._strays.append(text)


_MAX_STRAYS: Final = 100


class Joined:
    """Entries of the database with those of the archive, in the order of their numbers; what is in both has to be the same."""

    def __init__(self, past: Past, after: int) -> None:
        self._past = past
        self._at = after
        archive = past.archive
        self._rows = iter(()) if archive is None else archive.rows(after + 1, past.last_seq, past.note)
        self._next = next(self._rows, None)
        self._segments = past.segments_within(after) if archive is not None else []
        self._sums = Sums()

    def until(self, last_seq: int, hot: Sequence[tuple[int, str]], most: int) -> list[str | bytes]:
        """The rows up to a number; `hot` are those of the database."""
        archived = list(self._take(last_seq, most))
        self._end_segments(last_seq)
        here = dict(hot)
        both = {one.seq for one in archived} & here.keys()
        found: list[tuple[int, str | bytes]] = list(hot)
        for one in archived:
            if one.seq in both:
                if one.line is None or one.line != _line(here[one.seq]):
                    found.append((one.seq, one.row))
            elif self._past.is_gone(one):
                found.append((one.seq, one.row))
        if self._past.archive is not None:
            self._look_for([(seq, row) for seq, row in hot if seq not in both and seq <= self._past.last_seq])
        found.sort(key=lambda one: one[0])
        return [row for _, row in found]

    def _take(self, last_seq: int, most: int) -> Iterator[ArchivedRow]:
        count = 0
        while self._next is not None and self._next.seq <= last_seq:
            one, self._next = self._next, next(self._rows, None)
            self._end_segments(one.seq - 1)
            self._sums.add(one.line or b"", one.entry_hash, one.amount_nanousd)
            count += 1
            if count <= most:
                yield one

    def _end_segments(self, seq: int) -> None:
        """Compares segments that end up to a number."""
        while self._segments and self._segments[0][0].last_seq <= seq:
            one, is_whole = self._segments.pop(0)
            told = (one.entries, int(one.amount_nanousd), bytes(one.digest), bytes(one.hashes))
            if is_whole and self._sums.told != told:
                self._past.note(
                    f"entries with numbers from {one.first_seq} to {one.last_seq} are not in it as they were written and read back:"
                    f" {self._sums.entries} of {self._sums.amount_nanousd} nano-USD instead of {told[0]} of {told[1]}"
                )
            self._sums = Sums()

    def _look_for(self, hot: Sequence[tuple[int, str]]) -> None:
        """What the archive should have as well and has not."""
        lost = [seq for seq, row in hot if not self._past.has_expired(*_place(row), seq)]
        if lost:
            self._past.note(f"entry number {lost[0]} is in the database and not in it ({len(lost)} such near there)")


class _Placed(msgspec.Struct):
    held_at: str
    entry_class: str = msgspec.field(name="class")


_placed = msgspec.json.Decoder(_Placed)


def _place(row: str) -> tuple[str, str]:
    found = _placed.decode(row)
    return found.held_at[:7], found.entry_class


def _line(row: str | bytes) -> bytes | None:
    try:
        return encode_row(row)
    except UnsealableError:
        return None


def _rows(connection: psycopg.Connection, name: str) -> list[Any]:
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        return cursor.execute(query(name)).fetchall()


def refuse_unread(past: Past, what: str) -> None:
    """Raises ArchivedError where something is in an archive that cannot be read."""
    why = past.why_unread()
    if why is not None:
        raise ArchivedError(f"{what}, and the archive cannot be read: {why}")
