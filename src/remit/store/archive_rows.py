"""An entry as a row of the archive, and back: every column, so that its canonical line can be made again byte for byte."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

import msgspec
import pyarrow as pa

from remit.ledger.canonical import encode_row
from remit.store.archive_sums import Sums

_NULL: Final = msgspec.Raw(b"null")
_JSON: Final = ("tags", "tag_conflicts", "usage", "price_lines", "periods", "settlement")
_INSTANTS: Final = ("held_at", "recorded_at")
BATCH_ROWS: Final = 5_000


class EntryRow(msgspec.Struct, forbid_unknown_fields=True):
    """A row of `entries` as PostgreSQL writes it as JSON. A column that is not named here is not archived, and stops archiving."""

    seq: int
    id: str
    kind: str
    amount_nanousd: int
    grant_id: str
    grant_path: str
    node_ids: list[str]
    block_ids: list[str]
    debtor_id: str | None
    debt_period: str | None
    # Named as the column is.
    grant_class: str = msgspec.field(name="class")
    owner: str
    tags: msgspec.Raw
    tag_conflicts: msgspec.Raw
    vendor: str | None
    deployment: str | None
    model_requested: str | None
    model_served: str | None
    tier: str | None
    usage: msgspec.Raw
    price_lines: msgspec.Raw
    price_source: str | None
    usage_source: str | None
    tokens: int
    requests: int
    request_id: str | None
    operation_id: str | None
    hold_id: str | None
    vendor_request_id: str | None
    corrects: str | None
    policy_version: int | None
    decision_id: str | None
    held_at: str
    recorded_at: str
    note: str | None
    entry_hash: str
    periods: msgspec.Raw
    settlement: msgspec.Raw
    billing_month: str | None
    trace_id: str | None
    attempt: int | None


COLUMNS: Final = tuple(field.encode_name for field in msgspec.structs.fields(EntryRow))
_ATTRIBUTES: Final = tuple(field.name for field in msgspec.structs.fields(EntryRow))
_INTEGERS = {"seq", "amount_nanousd", "tokens", "policy_version"}
_SMALL_INTEGERS = {"requests", "attempt"}
_REQUIRED = {"seq", "id", "kind", "amount_nanousd", "held_at", "entry_hash", "class", "month"}


def _type_of(name: str) -> pa.DataType:
    if name in _INTEGERS:
        return pa.int64()
    if name in _SMALL_INTEGERS:
        return pa.int32()
    if name in {"node_ids", "block_ids"}:
        return pa.list_(pa.string())
    if name in _INSTANTS:
        return pa.timestamp("us", tz="UTC")
    if name == "billing_month":
        return pa.date32()
    return pa.binary() if name == "entry_hash" else pa.string()


# `month` is that of held_at: a partition of the table, and what leaves it when its time is up.
SCHEMA: Final = pa.schema(
    [pa.field(name, _type_of(name), nullable=name not in _REQUIRED) for name in COLUMNS]
    + [pa.field("month", pa.string(), nullable=False)]
)
PARTITION_BY: Final = ["month", "class"]

_decoder = msgspec.json.Decoder(EntryRow)
_encoder = msgspec.json.Encoder()


class UnknownColumnError(Exception):
    """An entry has a column that the archive does not know: this version must not archive it."""


def read_row(row: str | bytes) -> EntryRow:
    """A row as PostgreSQL writes it as JSON. Raises UnknownColumnError."""
    try:
        return _decoder.decode(row)
    except msgspec.ValidationError as error:
        raise UnknownColumnError(str(error)) from None


def to_batch(rows: Iterable[EntryRow]) -> pa.RecordBatch:
    """Rows as Arrow columns."""
    found = list(rows)
    columns: list[Any] = []
    for name, attribute in zip(COLUMNS, _ATTRIBUTES, strict=True):
        values = [getattr(row, attribute) for row in found]
        columns.append(pa.array([_value(name, value) for value in values], SCHEMA.field(name).type))
    columns.append(pa.array([row.held_at[:7] for row in found], pa.string()))
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _JSON:
        return None if bytes(value) == b"null" else bytes(value).decode()
    if name in _INSTANTS:
        return datetime.fromisoformat(value).astimezone(UTC)
    if name == "billing_month":
        return date.fromisoformat(value)
    return bytes.fromhex(value.removeprefix("\\x")) if name == "entry_hash" else value


def to_lines(table: pa.Table) -> Iterator[tuple[bytes, bytes, int]]:
    """(canonical line, entry_hash, amount) of each row of the archive, in its order. Raises UnsealableError."""
    for batch in table.to_batches(max_chunksize=BATCH_ROWS):
        for row in batch.to_pylist():
            yield encode_row(json_of(row)), row["entry_hash"], row["amount_nanousd"]


def json_of(row: Mapping[str, Any]) -> bytes:
    """A row of the archive as PostgreSQL writes an entry as JSON, but for its entry_hash."""
    values: dict[str, Any] = {
        attribute: _raw(row[name]) if name in _JSON else row[name]
        for name, attribute in zip(COLUMNS, _ATTRIBUTES, strict=True)
    }
    for name in _INSTANTS:
        values[name] = row[name].astimezone(UTC).isoformat()
    if row["billing_month"] is not None:
        values["billing_month"] = row["billing_month"].isoformat()
    values["entry_hash"] = ""
    return _encoder.encode(EntryRow(**values))


def _raw(text: str | None) -> msgspec.Raw:
    return _NULL if text is None else msgspec.Raw(text.encode())


def sums_of(table: pa.Table, sums: Sums | None = None) -> Sums:
    """The sums of rows of the archive, which are in the order of their numbers, after those before them."""
    sums = Sums() if sums is None else sums
    for line, entry_hash, amount in to_lines(table):
        sums.add(line, entry_hash, amount)
    return sums
