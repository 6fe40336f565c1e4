"""Rows of a Parquet file, where pyarrow is installed; nothing else here needs it."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from remit.reconcile.statements.model import StatementError
from remit.reconcile.statements.raw import MAX_COLUMNS, Raw

MAX_PARQUET_BYTES: Final = 256 * 1024 * 1024
_AT_ONCE: Final = 4_096


def parquet_rows(raw: Raw, header: Callable[[list[str]], None]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Rows by column with their number from 1: texts, exact numbers, maps as pairs. Raises StatementError.

    A column of binary floating point is read as the shortest decimal that means the same float: what the writer of the file once
    rounded cannot be known any more.
    """
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise StatementError("it is Parquet: install pyarrow to read it, or export it as CSV") from None
    if raw.size_bytes > MAX_PARQUET_BYTES:
        raise StatementError("as Parquet it is larger than 256 MiB: export it by day, or by account")
    try:
        file = parquet.ParquetFile(arrow.BufferReader(b"".join(raw.content())))
        if file.metadata.num_columns > MAX_COLUMNS:
            raise StatementError(f"{file.metadata.num_columns} columns, at most {MAX_COLUMNS} are read")
        header(list(file.schema_arrow.names))
        number = 0
        for batch in file.iter_batches(batch_size=_AT_ONCE):
            for row in batch.to_pylist():
                number += 1
                yield number, {name: _value(value) for name, value in row.items()}
    except (arrow.ArrowException, OSError) as error:
        raise StatementError(f"it is not Parquet that can be read: {str(error)[:200]}") from None


def _value(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value
