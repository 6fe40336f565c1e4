"""The archive and the hot window as one table, `entries`, for questions in SQL: DuckDB, read only."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import psycopg
import pyarrow as pa

from remit.store.archive_rows import BATCH_ROWS, SCHEMA, read_row, to_batch
from remit.store.connect import Opens
from remit.store.delta_archive import DeltaArchive
from remit.store.named import query

DEFAULT_MEMORY: Final = "1GB"
_FETCH_ROWS: Final = 2_000


class QueryError(ValueError):
    """The question cannot be answered; the message says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Names of columns, and rows."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


class Lake:
    """Answers questions over both as of one moment. What is in the archive is read there; every entry is seen once."""

    def __init__(self, opens: Opens, archive: DeltaArchive | None, memory: str = DEFAULT_MEMORY) -> None:
        self._opens = opens
        self._archive = archive
        self._memory = memory

    def ask(self, statement: str, most: int | None = None) -> Answer:
        """What one SELECT over `entries` answers, at most so many rows. Raises QueryError, and what storage raises."""
        with self.open() as connection:
            return ask(connection, statement, most)

    @contextmanager
    def open(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of DuckDB that has `entries` and can reach nothing but the archive's files; see `ask`.

        Raises QueryError where the memory it may have is no size or too little.
        """
        with tempfile.TemporaryDirectory(prefix="remit-lake-") as folder, duckdb.connect() as connection:
            try:
                connection.execute(f"SET memory_limit = '{_quoted(self._memory)}'")
                self._prepare(connection, folder)
            except duckdb.ParserException:
                raise QueryError(f"`{self._memory}` is no size of memory such as 512MB") from None
            except duckdb.OutOfMemoryException:
                raise QueryError(f"`{self._memory}` of memory is too little") from None
            yield connection

    def _prepare(self, connection: duckdb.DuckDBPyConnection, folder: str) -> None:
        connection.execute(f"SET temp_directory = '{folder}'")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET python_enable_replacements = false")
        archived = self._load_hot(connection)
        if self._archive is None:
            connection.execute("CREATE VIEW entries AS SELECT * FROM hot")
        else:
            self._archive.relation(connection, "archived")
            names = ", ".join(f'"{name}"' for name in SCHEMA.names)
            connection.execute(
                f"CREATE VIEW entries AS SELECT {names} FROM archived WHERE seq <= {archived}"  # noqa: S608
                f" UNION ALL SELECT {names} FROM hot"
            )
            if (place := self._archive.folder()) is not None:
                connection.execute(f"SET allowed_directories = ['{_quoted(str(place))}']")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")

    def _load_hot(self, connection: duckdb.DuckDBPyConnection) -> int:
        """Makes `hot` of what is in no segment; answers up to which number entries are in one.

        Where that is changes only after the archive did: what is read there afterwards has every entry up to it.
        """
        with self._opens() as source, source.transaction():
            source.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            source.execute("SET LOCAL statement_timeout = 0")
            row = source.execute(query("segment_last")).fetchone()
            assert row is not None
            archived = int(row[0]) if self._archive is not None else 0
            with source.cursor(name="hot") as cursor:
                cursor.itersize = _FETCH_ROWS
                cursor.execute(query("hot_rows"), {"after": archived})
                reader = pa.RecordBatchReader.from_batches(SCHEMA, _batches(cursor))
                connection.register("arriving", reader)
                connection.execute("CREATE TABLE hot AS SELECT * FROM arriving")
                connection.unregister("arriving")
        return archived


def ask(connection: duckdb.DuckDBPyConnection, statement: str, most: int | None = None) -> Answer:
    """What one SELECT answers over such a connection. Raises QueryError."""
    try:
        found = connection.extract_statements(statement)
        if len(found) != 1 or found[0].type != duckdb.StatementType.SELECT:
            raise QueryError("one SELECT can be asked, and nothing else")
        result = connection.execute(found[0])
        names = tuple(str(one[0]) for one in result.description or ())
        return Answer(names, result.fetchall() if most is None else result.fetchmany(most))
    except duckdb.Error as error:
        raise QueryError(str(error).partition("\n")[0]) from None


def _batches(cursor: "psycopg.ServerCursor[Any]") -> Iterator[pa.RecordBatch]:
    for rows in _in_parts(cursor):
        yield to_batch(read_row(row[0]) for row in rows)


def _in_parts(rows: "psycopg.ServerCursor[Any]") -> Iterator[list[Any]]:
    part: list[Any] = []
    for row in rows:
        part.append(row)
        if len(part) == BATCH_ROWS:
            yield part
            part = []
    if part:
        yield part


def _quoted(text: str) -> str:
    return text.replace("'", "''")
