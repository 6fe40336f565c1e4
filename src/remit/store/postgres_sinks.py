"""How far receivers of entries have been fed, and which files exports wrote."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

import psycopg

from remit.kernel.clock import Clock
from remit.ledger.model import ArchivedError
from remit.store.authored import record_deed
from remit.store.connect import Opens
from remit.store.enqueue import defer, for_sinks
from remit.store.named import query
from remit.store.rows import dicts

# An attempt that has not ended by then is made again by another worker: what both send is known by its ids, and one moves the place.
CLAIM_SECONDS = 300
MAX_ERROR_CHARACTERS = 500
Begins = datetime | Literal["start", "now"]


@dataclass(frozen=True, slots=True)
class SinkRow:
    """One entry as stored. `charged` says whether somebody is charged for it: what overdraft pays is no further charge."""

    seq: int
    entry: dict[str, Any]
    charged: bool


@dataclass(frozen=True, slots=True)
class Claimed:
    """A sink to be fed: everything up to `seq` is with it. `attempts` failed since the last one that did not."""

    seq: int
    attempts: int


class PostgresSinks:
    """Over connections in the authority's role. Only what is settled is given out: nothing can appear below it any more."""

    def __init__(self, opens: Opens, clock: Clock) -> None:
        self._opens = opens
        self._clock = clock

    def know(self, sink: str, begins: Begins) -> None:
        """Lets a sink begin there, if it was not known before."""
        since = begins if isinstance(begins, datetime) else None
        self._do("sink_known", sink=sink, start=begins == "start", since=since)

    def claim(self, sink: str) -> Claimed | None:
        """The sink, put off meanwhile; None where its time has not come."""
        row = self._row("sink_claim", sink=sink, until=self._clock.now() + timedelta(seconds=CLAIM_SECONDS))
        return None if row is None else Claimed(*row)

    def rows(self, after: int, count: int) -> list[SinkRow]:
        """The next settled entries."""
        with self._opens() as connection:
            found = connection.execute(query("sink_rows"), {"after": after, "count": count}).fetchall()
        return [SinkRow(*row) for row in found]

    def letters_due(self, sink: str, count: int) -> list[SinkRow]:
        """Entries that were refused once and are to be tried again."""
        with self._opens() as connection:
            found = connection.execute(query("sink_letters_due"), {"sink": sink, "count": count}).fetchall()
        return [SinkRow(*row) for row in found]

    def fed(self, sink: str, claimed: int, to: int, delivered: int, refused: Sequence[tuple[int, str]]) -> bool:
        """Moves the sink on, with what it refused; False where somebody else has moved it meanwhile. It stays claimed."""
        now = self._clock.now()
        with self._opens() as connection, connection.transaction():
            values = {"sink": sink, "from": claimed, "to": to, "count": delivered, "now": now}
            values["next"] = now + timedelta(seconds=CLAIM_SECONDS)
            moved = connection.execute(query("sink_fed"), values).rowcount == 1
            for seq, why in refused if moved else ():
                connection.execute(query("sink_letter"), _letter(sink, seq, "dead", why, now))
        return moved

    def letter(self, sink: str, seq: int, state: Literal["dead", "delivered"], why: str = "") -> None:
        """What became of an entry that was tried again."""
        with self._opens() as connection:
            connection.execute(query("sink_letter"), _letter(sink, seq, state, why, self._clock.now()))

    def free(self, sink: str) -> None:
        """Ends a claim."""
        self._do("sink_free", sink=sink)

    def failed(self, sink: str, why: str, wait_seconds: int) -> None:
        """Ends a claim of a sink that could not be fed: it is tried again after so long."""
        again = self._clock.now() + timedelta(seconds=wait_seconds)
        self._do("sink_failed", sink=sink, error=why[:MAX_ERROR_CHARACTERS], next=again)

    def listed(self) -> list[dict[str, Any]]:
        """Every sink that was ever known, with `waiting` (entries), `waiting_since` and `letters`."""
        with self._opens() as connection:
            return dicts(connection.execute(query("sinks_listed")))

    def letters(self, count: int) -> list[dict[str, Any]]:
        """Entries that receivers refused for good, oldest first, with `error`."""
        with self._opens() as connection:
            return dicts(connection.execute(query("sink_letters_listed"), {"count": count}))

    def export_periods(self, export: str, count: int = 400) -> dict[date, bool]:
        """The newest periods of an export, and whether each was written."""
        with self._opens() as connection:
            rows = connection.execute(query("export_periods"), {"export": export, "count": count}).fetchall()
        return {row[0]: row[1] for row in rows}

    def export_due(self, export: str, period: date) -> int | None:
        """Claims a period of an export: which attempt this is; None where it was written or has to wait."""
        until = self._clock.now() + timedelta(seconds=CLAIM_SECONDS)
        row = self._row("export_due", export=export, period=period, until=until)
        return None if row is None else int(row[0])

    def export_written(self, export: str, period: date, path: str, rows: int) -> None:
        """The file of a period is there."""
        now = self._clock.now()
        self._do(
            "export_ended", export=export, period=period, written_at=now, path=path, rows=rows, error=None, next=now
        )

    def export_failed(self, export: str, period: date, why: str, wait_seconds: int) -> None:
        """The file of a period is not there, and is tried again after so long."""
        again = self._clock.now() + timedelta(seconds=wait_seconds)
        why = why[:MAX_ERROR_CHARACTERS]
        self._do(
            "export_ended", export=export, period=period, written_at=None, path=None, rows=None, error=why, next=again
        )

    def exports(self, count: int) -> list[dict[str, Any]]:
        """Periods of exports, newest first."""
        with self._opens() as connection:
            return dicts(connection.execute(query("exports_listed"), {"count": count}))

    def _do(self, name: str, **values: Any) -> None:
        with self._opens() as connection:
            connection.execute(query(name), {"now": self._clock.now(), **values})

    def _row(self, name: str, **values: Any) -> tuple[Any, ...] | None:
        with self._opens() as connection:
            return connection.execute(query(name), {"now": self._clock.now(), **values}).fetchone()


def retry_letters(connection: psycopg.Connection, sink: str, now: datetime) -> int | None:
    """Makes what a sink refused due again, and the sink as well, inside a transaction; None where there is no such sink."""
    row = connection.execute(query("sink_retry"), {"sink": sink, "now": now}).fetchone()
    assert row is not None
    if not row[1]:
        return None
    record_deed(connection, "sink", sink, None, {"letters_due": row[0]})
    defer(connection, now, for_sinks([sink]))
    return int(row[0])


def rewind(connection: psycopg.Connection, sink: str, since: datetime, now: datetime) -> tuple[int, int] | None:
    """Lets a sink go on with what was recorded from an instant on, inside a transaction: where it was, and where it is.

    Raises ArchivedError where some of that is in the archive alone.
    """
    last = connection.execute(
        "SELECT max(last_recorded_at) FROM ledger_partitions WHERE dropped_at IS NOT NULL"
    ).fetchone()
    if last is not None and last[0] is not None and since <= last[0]:
        raise ArchivedError(
            f"entries recorded up to {last[0]:%Y-%m-%dT%H:%M:%SZ} are in the archive alone: take them from there, and rewind to later"
        )
    row = connection.execute(query("sink_rewind"), {"sink": sink, "since": since, "now": now}).fetchone()
    if row is None:
        return None
    record_deed(connection, "sink", sink, None, {"seq_before": row[0], "seq": row[1]})
    defer(connection, now, for_sinks([sink]))
    return int(row[0]), int(row[1])


def _letter(sink: str, seq: int, state: str, why: str, now: datetime) -> dict[str, Any]:
    return {"sink": sink, "seq": seq, "state": state, "error": why[:MAX_ERROR_CHARACTERS], "now": now}
