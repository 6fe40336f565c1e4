"""The database's side of the archive: what goes into segments, what leaves, what must stay."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg

from remit.grants.ports import Said
from remit.store.authored import Source, say
from remit.store.connect import Opens
from remit.store.named import query
from remit.store.rows import dicts

_FETCH_ROWS = 2_000
# Reading a segment while it is written, and summing a month, take as long as they take. They lock nothing.
_PATIENT = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0"


class ArchivedElsewhereError(Exception):
    """Another process archives just now."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Entries that were written to the archive and read back from it. `digest` is of their canonical lines, each with a line feed."""

    first_seq: int
    last_seq: int
    entries: int
    amount_nanousd: int
    digest: bytes
    hashes: bytes
    delta_version: int
    written_at: datetime


@dataclass(frozen=True, slots=True)
class LegalHold:
    """What must not be taken away: what a grant was charged for, it and those below it, or all."""

    id: str
    grant_id: str | None
    path: str | None
    reason: str
    placed_by: str
    placed_at: datetime
    lifted_by: str | None
    lifted_at: datetime | None


class PostgresArchive:
    """Over connections in the authority's role."""

    def __init__(self, opens: Opens) -> None:
        self._opens = opens

    @contextmanager
    def alone(self) -> Iterator["Archiving"]:
        """The work of the one process that archives now. Raises ArchivedElsewhereError."""
        with self._opens() as connection:
            if not _value(connection, "archive_lock", {}):
                raise ArchivedElsewhereError
            try:
                connection.execute(_PATIENT)
                yield Archiving(connection)
            finally:
                # A connection that is gone has given its lock back.
                if not connection.closed:
                    connection.execute(query("archive_unlock"))

    def ensure_partitions(self, now: datetime, months: int) -> list[str]:
        """Makes the partitions of this month and so many after it where there are none; answers their names."""
        with self._opens() as connection:
            return list(_value(connection, "partitions_ensure", {"now": now, "months": months}))

    def segments(self) -> list[Segment]:
        """All of them, in order."""
        with self._opens() as connection:
            rows = dicts(connection.execute(query("segments_all")))
        return [Segment(**{**row, "amount_nanousd": int(row["amount_nanousd"])}) for row in rows]

    def totals(self) -> tuple[int, int]:
        """How many entries should be in the archive, and what they should come to in nano-USD."""
        with self._opens() as connection:
            row = connection.execute(query("archive_totals")).fetchone()
        assert row is not None
        return int(row[0]), int(row[1])

    def place_hold(self, hold_id: str, grant_id: str | None, said: Said, source: Source) -> None:
        """Keeps entries of a grant and those below it, or all of them, from being taken away."""
        values = {"id": hold_id, "grant_id": grant_id, "reason": said.reason, "by": said.actor, "now": said.at}
        with self._opens() as connection, connection.transaction():
            say(connection, said, source)
            connection.execute(query("legal_hold_place"), values)

    def lift_hold(self, hold_id: str, said: Said, source: Source) -> bool:
        """Lifts a hold; False where there is none of that id that was not lifted."""
        with self._opens() as connection, connection.transaction():
            say(connection, said, source)
            values = {"id": hold_id, "by": said.actor, "now": said.at}
            return connection.execute(query("legal_hold_lift"), values).fetchone() is not None

    def legal_holds(self, *, lifted: bool = False) -> list[LegalHold]:
        """The holds in force or, with `lifted`, all there were; the oldest first."""
        with self._opens() as connection:
            rows = connection.execute(query("legal_holds_all"), {"lifted": lifted}).fetchall()
        return [LegalHold(*row) for row in rows]


class Archiving:
    """The work of the one process that archives."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def last_seq(self) -> int:
        """The last number that is in a segment, 0 where there is none."""
        return int(_value(self._connection, "segment_last", {}))

    def next_seq(self, after: int, cutoff: datetime, at_most: int) -> int | None:
        """Up to which number the next segment goes; None where there is nothing for one."""
        values = {"after": after, "cutoff": cutoff, "at_most": at_most}
        found = _value(self._connection, "archive_next", values)
        return None if found is None else int(found)

    def rows(self, first_seq: int, last_seq: int) -> Iterator[tuple[int, bool, str]]:
        """(number, whether it is as it was written, row as JSON) of entries in order, a part at a time."""
        with self._connection.transaction(), self._connection.cursor(name="segment") as cursor:
            cursor.itersize = _FETCH_ROWS
            cursor.execute(query("archive_rows"), {"first": first_seq, "last": last_seq})
            yield from cursor

    def record(
        self, now: datetime, first_seq: int, last_seq: int, told: tuple[int, int, bytes, bytes], version: int
    ) -> None:
        """Records a segment that was read back. Raises psycopg.errors.IntegrityError where it is not what the ledger has."""
        entries, amount, digest, hashes = told
        values = {"now": now, "first": first_seq, "last": last_seq, "entries": entries, "amount": amount, "digest": digest,
                  "hashes": hashes, "version": version}  # fmt: skip
        self._connection.execute(query("segment_record"), values)

    def due_partitions(self, now: datetime, hot_days: int) -> list[str]:
        """Partitions whose time here is up, the oldest first."""
        values = {"now": now, "hot_days": hot_days}
        return [row[0] for row in self._connection.execute(query("partitions_kept"), values).fetchall()]

    def drop(self, name: str, now: datetime, hot_days: int) -> str | None:
        """Takes a partition out of the database; answers why not, or None. Raises psycopg.errors.LockNotAvailable."""
        values = {"name": name, "now": now, "hot_days": hot_days}
        why = _value(self._connection, "partition_sum", values)
        why = why if why is not None else _value(self._connection, "partition_drop", values)
        return None if why is None else str(why)

    def begin_expiry(  # noqa: PLR0917 - what is written down
        self, now: datetime, month: date, entry_class: str, kept_months: int, told: tuple[int, int, bytes, bytes],
        span: tuple[int, int],
    ) -> str | None:  # fmt: skip
        """Writes down what goes; answers why it must not, or None."""
        values = {"now": now, "month": month, "class": entry_class, "kept_months": kept_months, "entries": told[0],
                  "amount": told[1], "digest": told[2], "first": span[0], "last": span[1]}  # fmt: skip
        found = _value(self._connection, "expiry_begin", values)
        return None if found is None else str(found)

    def finish_expiry(self, now: datetime, month: date, entry_class: str) -> None:
        """What was written down is gone."""
        self._connection.execute(query("expiry_finish"), {"now": now, "month": month, "class": entry_class})

    def transaction(self) -> AbstractContextManager[psycopg.Transaction]:
        """What follows is done as a whole or not at all."""
        return self._connection.transaction()

    def open_expiries(self) -> Sequence[tuple[date, str]]:
        """What was written down and was not seen to be gone."""
        return [(row[0], row[1]) for row in self._connection.execute(query("expiries_open")).fetchall()]


def _value(connection: psycopg.Connection, name: str, parameters: dict[str, Any]) -> Any:
    row = connection.execute(query(name), parameters).fetchone()
    assert row is not None
    return row[0]
