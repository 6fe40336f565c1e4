"""The archive as a Delta table, in a folder or an object store: appended to exactly once, read back, compacted, cleared."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from remit.store.archive_rows import PARTITION_BY, SCHEMA, sums_of
from remit.store.archive_sums import Sums

APP: Final = "remit-ledger"
"""The writer's name in Delta's transactions; their version is the last number that is in the table."""
_SMALL_FILES: Final = 4
_TARGET_BYTES: Final = 128 * 1024 * 1024
_READ_ROWS: Final = 50_000


class ArchiveError(Exception):
    """The archive is not what it should be; the message says how. Nothing is taken out of the database any more."""


@dataclass(frozen=True, slots=True)
class Expiring:
    """What there is of a month and class."""

    sums: Sums
    first_seq: int
    last_seq: int


class DeltaArchive:
    """The table at a path or URL. Credentials of an object store come from the environment, as its own tools have them."""

    def __init__(self, path: str) -> None:
        self.path = path

    def last_seq(self) -> int:
        """The last number that was committed, 0 where there is no table yet."""
        table = self._open()
        found = None if table is None else table.transaction_version(APP)
        return 0 if found is None else int(found)

    def append(self, batches: Iterable[pa.RecordBatch], last_seq: int) -> None:
        """Appends rows in one commit that says up to which number they go. Raises what storage raises.

        Of two writers that begin at the same state only one can commit: both name the same transaction.
        """
        table = self._open()
        if table is None:
            table = DeltaTable.create(
                self._location(), SCHEMA, partition_by=PARTITION_BY, name="entries", description="sealed ledger entries"
            )
        failed: list[Exception] = []
        reader = pa.RecordBatchReader.from_batches(SCHEMA, _told(batches, failed))
        terms = CommitProperties(app_transactions=[Transaction(APP, last_seq)], max_commit_retries=3)
        try:
            write_deltalake(table, reader, mode="append", commit_properties=terms)
        except DeltaError:
            if failed:
                raise failed[0] from None
            raise

    def version(self) -> int:
        """The table's version now."""
        return int(self._table().version())

    def sums(self, first_seq: int, last_seq: int) -> Sums:
        """What the entries with these numbers come to, as they are in the table."""
        found = self._dataset().to_table(filter=(ds.field("seq") >= first_seq) & (ds.field("seq") <= last_seq))
        return sums_of(found.sort_by("seq"))

    def months(self) -> list[tuple[date, str]]:
        """The months and classes that have entries."""
        table = self._open()
        if table is None:
            return []
        return sorted({(date.fromisoformat(f"{one['month']}-01"), str(one["class"])) for one in table.partitions()})

    def expiring(self, month: date, entry_class: str) -> Expiring | None:
        """What a month has of a class, None where that is nothing. In the order of their numbers, part by part."""
        dataset = self._dataset()
        where = (ds.field("month") == _month(month)) & (ds.field("class") == entry_class)
        numbers = dataset.to_table(columns=["seq"], filter=where).column("seq")
        if len(numbers) == 0:
            return None
        ordered = numbers.take(pc.sort_indices(numbers))
        sums = Sums()
        for start in range(0, len(ordered), _READ_ROWS):
            last = min(start + _READ_ROWS, len(ordered)) - 1
            part = where & (ds.field("seq") >= ordered[start].as_py()) & (ds.field("seq") <= ordered[last].as_py())
            sums_of(dataset.to_table(filter=part).sort_by("seq"), sums)
        return Expiring(sums, ordered[0].as_py(), ordered[-1].as_py())

    def remove(self, month: date, entry_class: str) -> None:
        """Takes a month's entries of a class out of the table: whole files, as it is partitioned by both."""
        quoted = entry_class.replace("'", "''")
        self._table().delete(f"month = '{_month(month)}' AND class = '{quoted}'")

    def compact(self) -> int:
        """Makes few files of many, month by month; answers of how many months and classes.

        Raises ArchiveError, with the table as it was before, where its content is not the same afterwards.
        """
        done = 0
        for month, entry_class in self._scattered():
            table = self._table()
            where = [("month", "=", _month(month)), ("class", "=", entry_class)]
            before, version = self._fingerprint(month, entry_class), table.version()
            table.optimize.compact(partition_filters=where, target_size=_TARGET_BYTES)
            if self._fingerprint(month, entry_class) != before:
                self._table().restore(version)
                raise ArchiveError(f"{_month(month)} {entry_class} was not the same after it was compacted")
            done += 1
        return done

    def vacuum(self, retention_hours: int) -> int:
        """Removes files that no version of that age needs; answers how many."""
        table = self._open()
        if table is None:
            return 0
        removed = table.vacuum(retention_hours=retention_hours, dry_run=False, enforce_retention_duration=False)
        self._table().create_checkpoint()
        return len(removed)

    def size(self) -> tuple[int, int]:
        """Files and bytes of the present version."""
        actions = pa.table(self._table().get_add_actions(flatten=True))
        return actions.num_rows, int(pc.sum(actions.column("size_bytes")).as_py() or 0)

    def totals(self) -> tuple[int, int]:
        """How many entries there are and what they come to."""
        if self._open() is None:
            return 0, 0
        count, amount = self._ask("SELECT count(*), coalesce(sum(amount_nanousd), 0) FROM archived", self._dataset())
        return int(count), int(amount)

    def relation(self, connection: duckdb.DuckDBPyConnection, name: str) -> None:
        """Makes the present version a view of that name, without it where there is none yet."""
        table = self._open()
        if table is None:
            connection.register(name, pa.table({f.name: pa.array([], f.type) for f in SCHEMA}))
            return
        if files := self._local_files(table):
            listed = ", ".join("'" + one.replace("'", "''") + "'" for one in files)
            connection.execute(
                f'CREATE VIEW "{name}" AS SELECT * FROM read_parquet([{listed}], hive_partitioning = true,'  # noqa: S608 - our own names
                " hive_types = {'month': VARCHAR, 'class': VARCHAR})"
            )
            return
        connection.register(name, table.to_pyarrow_dataset())

    def folder(self) -> Path | None:
        """Where it is on this machine, None in an object store."""
        return None if "://" in self.path else Path(self.path).expanduser().resolve()

    def _local_files(self, table: DeltaTable) -> list[str]:
        if self.folder() is None:
            return []
        return [uri.removeprefix("file://") for uri in table.file_uris()]

    def _scattered(self) -> list[tuple[date, str]]:
        """The months and classes that are in many small files."""
        table = self._open()
        if table is None:
            return []
        actions = pa.table(table.get_add_actions(flatten=True)).select(
            ["partition.month", "partition.class", "size_bytes"]
        )
        small: Counter[tuple[date, str]] = Counter(
            (date.fromisoformat(f"{one['partition.month']}-01"), one["partition.class"])
            for one in actions.to_pylist()
            if one["size_bytes"] < _TARGET_BYTES // 2
        )
        return sorted(name for name, count in small.items() if count >= _SMALL_FILES)

    def _fingerprint(self, month: date, entry_class: str) -> tuple[Any, ...]:
        """What a month's entries come to, in whatever order and files: every column of every one counts."""
        dataset = self._dataset().filter((ds.field("month") == _month(month)) & (ds.field("class") == entry_class))
        columns = ", ".join(f'"{one}"' for one in SCHEMA.names)
        return self._ask(
            f"SELECT count(*), sum(seq), sum(amount_nanousd), bit_xor(hash({columns})) FROM archived",  # noqa: S608
            dataset,
        )

    def _ask(self, statement: str, dataset: ds.Dataset) -> tuple[Any, ...]:
        with duckdb.connect() as connection:
            connection.register("archived", dataset)
            row = connection.execute(statement).fetchone()
            assert row is not None
            return tuple(row)

    def _dataset(self) -> ds.Dataset:
        return self._table().to_pyarrow_dataset()

    def _table(self) -> DeltaTable:
        table = self._open()
        if table is None:
            raise ArchiveError(f"there is no archive at `{self.path}`")
        return table

    def _open(self) -> DeltaTable | None:
        try:
            return DeltaTable(self._location())
        except TableNotFoundError:
            return None

    def _location(self) -> str:
        folder = self.folder()
        if folder is None:
            return self.path
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return str(folder)


def _told(batches: Iterable[pa.RecordBatch], failed: list[Exception]) -> Iterator[pa.RecordBatch]:
    """The batches; what they raise is kept, as the writer passes on only its text."""
    try:
        yield from batches
    except Exception as error:
        failed.append(error)
        raise


def _month(month: date) -> str:
    return f"{month:%Y-%m}"
