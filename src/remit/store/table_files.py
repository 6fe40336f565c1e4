"""Rows of an export as files: CSV, and Parquet where pyarrow is installed. Written row by row, and whole or not at all."""

import csv
import gzip
import io
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, TextIO

from remit.reports.focus.columns import Column, Row, Value, text_of
from remit.store.whole_files import whole_file

ROWS_AT_ONCE: Final = 10_000
# As many digits as a decimal of 128 bits has.
_DIGITS: Final = 38
_MODE: Final = 0o640


class NoParquetError(Exception):
    """The package that writes Parquet is not installed."""


def write_table(path: Path, columns: Sequence[Column], rows: Iterable[Row]) -> int:
    """Writes `.csv`, `.csv.gz` or `.parquet`, by the name, and answers how many rows.

    The file appears when it is complete, in place of one of that name; where something else has it, OSError is raised. So is
    NoParquetError, before anything is read.
    """
    if path.name.endswith(".parquet"):
        require_parquet()
        with whole_file(path, _MODE) as target:
            return write_parquet(target, columns, rows)
    with whole_file(path, _MODE) as target:
        if not path.name.endswith(".gz"):
            return _csv_in(target, columns, rows)
        # No name and no time inside: the same books make the same file.
        with gzip.GzipFile(filename="", mode="wb", fileobj=target, mtime=0) as packed:
            return _csv_in(packed, columns, rows)


def write_csv(stream: TextIO, columns: Sequence[Column], rows: Iterable[Row]) -> int:
    """CSV with a header, comma and CRLF (RFC 4180)."""
    lines = csv.writer(stream, lineterminator="\r\n")
    lines.writerow([column.name for column in columns])
    count = 0
    for row in rows:
        lines.writerow([text_of(column, row[column.name]) for column in columns])
        count += 1
    return count


def require_parquet() -> None:
    """Raises NoParquetError where pyarrow is missing."""
    try:
        import pyarrow.parquet  # noqa: F401, PLC0415 - heavy, and not everybody's
    except ImportError:
        raise NoParquetError("Parquet needs the package `pyarrow`: install `remit[archive]`, or write CSV") from None


def write_parquet(target: IO[bytes], columns: Sequence[Column], rows: Iterable[Row]) -> int:
    """Parquet with exact decimals (128 bits) and instants in UTC."""
    import pyarrow as pa  # noqa: PLC0415 - as above
    from pyarrow.parquet import ParquetWriter  # noqa: PLC0415 - as above

    types = {
        "text": pa.string(),
        "json": pa.string(),
        "flag": pa.bool_(),
        "instant": pa.timestamp("us", tz="UTC"),
    }
    schema = pa.schema(
        pa.field(
            one.name,
            pa.decimal128(_DIGITS, one.scale) if one.kind == "decimal" else types[one.kind],
            nullable=one.nullable,
        )
        for one in columns
    )
    count = 0
    left = iter(rows)
    with ParquetWriter(target, schema) as writer:
        while batch := list(islice(left, ROWS_AT_ONCE)):
            values = [
                pa.array([_cell(column, row[column.name]) for row in batch], schema.field(column.name).type)
                for column in columns
            ]
            writer.write_batch(pa.record_batch(values, schema=schema))
            count += len(batch)
    return count


def _cell(column: Column, value: Value) -> Any:
    if value is None or column.kind != "decimal":
        assert value is not None or column.nullable, column.name
        return value
    assert type(value) is int, column.name
    return Decimal((int(value < 0), tuple(map(int, str(abs(value)))), -column.scale))


def _csv_in(target: IO[bytes] | gzip.GzipFile, columns: Sequence[Column], rows: Iterable[Row]) -> int:
    text = io.TextIOWrapper(target, encoding="utf-8", newline="")
    try:
        return write_csv(text, columns, rows)
    finally:
        text.flush()
        text.detach()
