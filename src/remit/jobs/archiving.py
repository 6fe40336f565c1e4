"""Moves the ledger's past into the archive: segments, each exactly once; then months out of the database, and out of the archive."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import psycopg
import structlog

from remit.kernel.clock import Clock
from remit.ledger.canonical import encode_row
from remit.store.archive_rows import BATCH_ROWS, EntryRow, read_row, to_batch
from remit.store.archive_sums import Sums
from remit.store.delta_archive import ArchiveError, DeltaArchive
from remit.store.postgres_archive import ArchivedElsewhereError, Archiving, PostgresArchive

if TYPE_CHECKING:
    import pyarrow as pa

_log = structlog.get_logger(__name__)
VACUUM_HOURS: Final = 168
_DAY: Final = timedelta(days=1)
_MONTHS_OF_A_YEAR: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """For how many days at least entries stay in the database; how many a segment has at most.

    `keep_months` is for how many months after its end the archive keeps a month, by class; one that is not named for ever.
    """

    hot_days: int
    drops: bool = True
    segment_entries: int
    keep_months: Mapping[str, int]


@dataclass(slots=True)
class Archived:
    """What one round did. `kept` says of partitions and months whose time is up why they stay."""

    segments: int = 0
    entries: int = 0
    dropped: list[str] = field(default_factory=list)
    expired: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    compacted: int = 0


class Archiver:
    """A round does what there is to do. Broken off anywhere, the next one goes on: nothing is lost, and nothing is there twice."""

    def __init__(
        self, books: PostgresArchive, archive: DeltaArchive, terms: Terms, clock: Clock,
        reached: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._books = books
        self._archive = archive
        self._terms = terms
        self._clock = clock
        # Called with the name of each step when it was done: what breaks off there is what tests try.
        self._reached = reached
        self._vacuumed_at: datetime | None = None

    def round(self) -> Archived | None:
        """As `archive`, for who repeats it; None where another process is at it. Logs what was done."""
        try:
            done = self.archive()
        except ArchivedElsewhereError:
            return None
        if done.segments or done.dropped or done.expired or done.kept:
            _log.info("ledger_archived", segments=done.segments, entries=done.entries, dropped=done.dropped,
                      expired=done.expired, kept=done.kept)  # fmt: skip
        return done

    def archive(self) -> Archived:
        """Writes segments, compacts, takes months out of the database and, where their time is up, out of the archive.

        Raises ArchiveError where the archive, or an entry, is not what it should be: nothing is taken out then. Raises
        ArchivedElsewhereError, and what storage raises.
        """
        done = Archived()
        with self._books.alone() as work:
            self._write(work, done)
            if self._archive.last_seq() == 0:
                return done
            self._finish_expiries(work)
            done.compacted = self._archive.compact()
            self._reached("compacted")
            self._check_totals()
            if self._terms.drops:
                self._drop(work, done)
            self._expire(work, done)
            now = self._clock.now()
            if self._vacuumed_at is None or now - self._vacuumed_at >= _DAY:
                self._archive.vacuum(VACUUM_HOURS)
                self._vacuumed_at = now
        return done

    def _write(self, work: Archiving, done: Archived) -> None:
        while True:
            recorded, committed = work.last_seq(), self._archive.last_seq()
            if committed < recorded:
                raise ArchiveError(
                    f"the archive ends at entry number {committed}, and segments up to {recorded} were recorded: it is not the one"
                    " that was written to"
                )
            if committed > recorded:
                # Committed, and not recorded: whoever wrote it was stopped in between.
                self._record(work, recorded + 1, committed, self._sums_here(work, recorded + 1, committed), done)
                continue
            cutoff = self._clock.now() - timedelta(days=self._terms.hot_days)
            last = work.next_seq(recorded, cutoff, self._terms.segment_entries)
            if last is None:
                return
            sums = Sums()
            self._archive.append(self._batches(work, recorded + 1, last, sums), last)
            self._reached("committed")
            self._record(work, recorded + 1, last, sums, done)

    def _record(self, work: Archiving, first: int, last: int, sums: Sums, done: Archived) -> None:
        found = self._archive.sums(first, last)
        if found.told != sums.told:
            raise ArchiveError(
                f"entries from number {first} to {last} are not in the archive as they are in the ledger: {found.entries} of"
                f" {found.amount_nanousd} nano-USD instead of {sums.entries} of {sums.amount_nanousd}"
            )
        self._reached("verified")
        work.record(self._clock.now(), first, last, sums.told, self._archive.version())
        self._reached("recorded")
        done.segments += 1
        done.entries += sums.entries

    def _batches(self, work: Archiving, first: int, last: int, sums: Sums) -> "Iterator[pa.RecordBatch]":
        rows: list[EntryRow] = []
        for row in self._rows(work, first, last, sums):
            rows.append(row)
            if len(rows) == BATCH_ROWS:
                yield to_batch(rows)
                rows.clear()
        self._reached("read")
        if rows:
            yield to_batch(rows)

    def _rows(self, work: Archiving, first: int, last: int, sums: Sums) -> Iterator[EntryRow]:
        for seq, is_intact, text in work.rows(first, last):
            row = read_row(text)
            if not is_intact:
                raise ArchiveError(
                    f"entry {row.id} (number {seq}) is not as it was written: nothing is archived until that is cleared up"
                )
            sums.add(encode_row(text), bytes.fromhex(row.entry_hash.removeprefix("\\x")), row.amount_nanousd)
            yield row

    def _sums_here(self, work: Archiving, first: int, last: int) -> Sums:
        sums = Sums()
        for _ in self._rows(work, first, last, sums):
            pass
        return sums

    def _check_totals(self) -> None:
        expected, found = self._books.totals(), self._archive.totals()
        if expected != found:
            raise ArchiveError(
                f"the archive has {found[0]} entries of {found[1]} nano-USD, and {expected[0]} of {expected[1]} were recorded"
            )

    def _drop(self, work: Archiving, done: Archived) -> None:
        for name in work.due_partitions(self._clock.now(), self._terms.hot_days):
            try:
                why = work.drop(name, self._clock.now(), self._terms.hot_days)
            except psycopg.errors.LockNotAvailable:
                why = "busy"
            self._reached("dropped")
            if why is None:
                done.dropped.append(name)
            else:
                done.kept[name] = why

    def _expire(self, work: Archiving, done: Archived) -> None:
        for month, entry_class in self._archive.months():
            keep = self._terms.keep_months.get(entry_class)
            if keep is None or not _is_over(month, keep, self._clock.now()):
                continue
            name = f"{month:%Y-%m} {entry_class}"
            found = self._archive.expiring(month, entry_class)
            if found is None:
                continue
            span = (found.first_seq, found.last_seq)
            why = work.begin_expiry(self._clock.now(), month, entry_class, keep, found.sums.told, span)
            if why is not None:
                done.kept[name] = why
                continue
            self._reached("expiring")
            # Written down for good before anything goes; looked at once more, as nobody can place a hold from here until it is gone.
            with work.transaction():
                why = work.begin_expiry(self._clock.now(), month, entry_class, keep, found.sums.told, span)
                if why is not None:
                    done.kept[name] = why
                    continue
                self._archive.remove(month, entry_class)
                self._reached("removed")
                work.finish_expiry(self._clock.now(), month, entry_class)
            done.expired.append(name)

    def _finish_expiries(self, work: Archiving) -> None:
        """What was written down as going and is gone: whoever took it out was stopped before it could say so."""
        there = set(self._archive.months())
        for month, entry_class in work.open_expiries():
            if (month, entry_class) not in there:
                work.finish_expiry(self._clock.now(), month, entry_class)


def _is_over(month: date, keep: int, now: datetime) -> bool:
    """Whether a month ended at least so many months ago."""
    begun = (now.year - month.year) * _MONTHS_OF_A_YEAR + now.month - month.month
    return begun > keep


def totals_text(done: Archived) -> dict[str, Any]:
    """What a round did, for JSON."""
    return {"segments": done.segments, "entries": done.entries, "compacted": done.compacted, "dropped": done.dropped,
            "expired": done.expired, "kept": done.kept}  # fmt: skip
