"""One version of the archive, for who reads it entry by entry: in the order of their numbers, a bounded part at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from remit.ledger.canonical import UnsealableError, encode_row
from remit.store.archive_rows import json_of
from remit.store.archived_seals import ArchivedRow, ArchiveUnreadableError
from remit.store.delta_archive import APP, DeltaArchive

WINDOW: Final = 20_000
"""So many numbers are read at once: a part of the table that is sorted in memory."""
_BATCH_ROWS: Final = 4_096
_FAILURES: Final = (OSError, DeltaError, pa.ArrowException)


class ArchiveReader:
    """Implements `remit.store.archived_seals.ReadsArchive`."""

    def __init__(self, table: DeltaTable) -> None:
        self._table = table
        self._dataset = table.to_pyarrow_dataset()
        self.last_seq = int(table.transaction_version(APP) or 0)

    def rows(
        self, first_seq: int, last_seq: int, damaged: Callable[[str], None] | None = None
    ) -> Iterator[ArchivedRow]:
        """Entries with these numbers, in order. Raises ArchiveUnreadableError or, with `damaged`, tells it and goes on."""
        for start in range(first_seq, last_seq + 1, WINDOW):
            until = min(start + WINDOW - 1, last_seq)
            try:
                table = self._window((ds.field("seq") >= start) & (ds.field("seq") <= until), until - start + 1)
            except _FAILURES as error:
                text = f"entries with numbers from {start} to {until} cannot be read: {first_line(error)}"
                if damaged is None:
                    raise ArchiveUnreadableError(text) from None
                damaged(text)
                continue
            for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
                yield from map(_row, batch.to_pylist())

    def find(self, entry_id: str) -> list[ArchivedRow]:
        """The entries of that id. Raises ArchiveUnreadableError."""
        try:
            return [_row(one) for one in self._window(ds.field("id") == entry_id, 1).to_pylist()]
        except _FAILURES as error:
            raise ArchiveUnreadableError(first_line(error)) from None

    def of_months(self, months: Iterable[date]) -> Iterator[ArchivedRow]:
        """The entries of these months of `held_at`, in no order. Raises ArchiveUnreadableError."""
        try:
            scanner = self._scanner(ds.field("month").isin([f"{month:%Y-%m}" for month in months]))
            for batch in scanner.to_batches():
                yield from map(_row, batch.to_pylist())
        except _FAILURES as error:
            raise ArchiveUnreadableError(first_line(error)) from None

    def _scanner(self, where: ds.Expression) -> ds.Scanner:
        return self._dataset.scanner(filter=where, batch_size=_BATCH_ROWS, batch_readahead=2, fragment_readahead=1)

    def _window(self, where: ds.Expression, numbers: int) -> pa.Table:
        """Rows by number. Where there are more than numbers, some are there twice; who adds a million gets no more of our memory."""
        found: list[pa.RecordBatch] = []
        for batch in self._scanner(where).to_batches():
            found.append(batch)
            if sum(one.num_rows for one in found) > 2 * numbers:
                break
        return pa.Table.from_batches(found, schema=self._dataset.schema).sort_by("seq")


def open_archive(path: str) -> ArchiveReader:
    """The present version of the table at a path or URL. Raises ArchiveUnreadableError."""
    place = DeltaArchive(path)
    try:
        if (folder := place.folder()) is not None and not folder.is_dir():
            raise ArchiveUnreadableError(f"there is no folder `{folder}`")
        return ArchiveReader(DeltaTable(path if folder is None else str(folder)))
    except TableNotFoundError:
        raise ArchiveUnreadableError(f"there is no archive at `{path}`") from None
    except _FAILURES as error:
        raise ArchiveUnreadableError(f"the archive at `{path}` cannot be opened: {first_line(error)}") from None


def first_line(error: Exception) -> str:
    """What a library says, on one line."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _row(found: Mapping[str, Any]) -> ArchivedRow:
    held_at: datetime | None = found["held_at"]
    if held_at is None or found["recorded_at"] is None or f"{held_at.astimezone(UTC):%Y-%m}" != found["month"]:
        # Whoever asks for its month does not find it, or it goes when another's time is up: it is not the entry that was archived.
        row, line = b"null", None
    else:
        row = json_of(found)
        try:
            line = encode_row(row)
        except UnsealableError:
            line = None
    return ArchivedRow(
        seq=found["seq"], row=row, line=line, kind=found["kind"], entry_class=found["class"], held_at=held_at,
        entry_hash=found["entry_hash"] or b"", amount_nanousd=found["amount_nanousd"] or 0, node_ids=found["node_ids"] or (),
    )  # fmt: skip
