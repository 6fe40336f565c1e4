"""An entry as the bytes whose hash is its leaf; docs/reference/ledger-format.md.

All columns that have a value, but for `seq` and `entry_hash`, as canonical JSON: so an entry keeps its leaf when a later
version adds columns, and the leaf can be made again from columns, from a row's JSON or from a line of an export.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

LEFT_OUT: Final = frozenset({"seq", "entry_hash"})
INSTANTS: Final = frozenset({"held_at", "recorded_at"})
"""Columns that hold an instant. What is an instant inside nested JSON is text there, and stays as it was written."""
MAX_INTEGER: Final = 2**63 - 1
MIN_INTEGER: Final = -(2**63)
MAX_LINE_BYTES: Final = 1 << 23

_UTC_SUFFIX = "+00:00"
_WHOLE_SECONDS = 19
_MICROSECONDS = 26


class UnsealableError(ValueError):
    """A value has no canonical form; the message says which."""


def _integer_of(text: str) -> int:
    """The integer that a number with a point or an exponent is. Raises UnsealableError where it is none: nothing is rounded."""
    number = Decimal(text)
    if abs(number) > MAX_INTEGER or number != int(number):
        raise UnsealableError(f"the number {text[:40]} is not an integer of 64 bits")
    return int(number)


_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=_integer_of)
_encoder = msgspec.json.Encoder(order="sorted")


def encode_entry(entry: Mapping[str, Any]) -> bytes:
    """The canonical bytes of an entry whose columns are typed values: int, str, datetime, date, lists, JSON values or None.

    Raises UnsealableError for a value that has none: a float, an integer beyond 64 bits, an instant without a zone.
    """
    return _encode({name: _plain(value) for name, value in entry.items() if name not in LEFT_OUT and value is not None})


def encode_row(row: bytes | str) -> bytes:
    """The canonical bytes of an entry as PostgreSQL writes its row as JSON, instants in UTC. Raises UnsealableError."""
    try:
        found = _decoder.decode(row)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _unsealable(error) from None
    entry = {name: value for name, value in found.items() if value is not None and name not in LEFT_OUT}
    for name in INSTANTS:
        if name in entry:
            entry[name] = _instant(entry[name])
    return _encode(entry)


def decode_line(line: bytes) -> dict[str, Any]:
    """The entry of a line of an export. Raises UnsealableError for one that is not in canonical form."""
    if len(line) > MAX_LINE_BYTES:
        raise UnsealableError(f"a line is longer than {MAX_LINE_BYTES:,} bytes")
    try:
        entry = _decoder.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _unsealable(error) from None
    if _encode(entry) != line:
        raise UnsealableError("a line is not in canonical form")
    return entry


def id_of(row: bytes | str) -> str | None:
    """The id in a row or a line, if it can be read at all."""
    try:
        found = msgspec.json.decode(row)
    except (msgspec.DecodeError, RecursionError):
        return None
    name = found.get("id") if isinstance(found, dict) else None
    return name if isinstance(name, str) else None


def _unsealable(error: BaseException) -> UnsealableError:
    cause = error if error.__cause__ is None else error.__cause__
    return cause if isinstance(cause, UnsealableError) else UnsealableError(f"not the JSON of an entry: {error}")


def _encode(entry: Mapping[str, Any]) -> bytes:
    try:
        return _encoder.encode(entry)
    except (OverflowError, UnicodeEncodeError, TypeError, msgspec.MsgspecError) as error:
        raise UnsealableError(f"an entry has a value without canonical form: {error}") from None


def _instant(text: object) -> str:
    """`2026-06-01T12:00:00.5+00:00` with six digits and `Z`."""
    if not isinstance(text, str) or not text.endswith(_UTC_SUFFIX):
        raise UnsealableError(f"{text!r} is not an instant in UTC")
    digits = text[: -len(_UTC_SUFFIX)]
    if len(digits) == _WHOLE_SECONDS:
        digits += "."
    return f"{digits.ljust(_MICROSECONDS, '0')}Z"


def _plain(value: Any) -> Any:
    """A value as JSON values. `datetime` is a `date` to Python, and `bool` an `int`."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        if not MIN_INTEGER <= value <= MAX_INTEGER:
            raise UnsealableError(f"the number {value} is not an integer of 64 bits")
        return value
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise UnsealableError(f"the instant {value} has no zone")
        return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise UnsealableError("an object has a key that is not text")
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    raise UnsealableError(f"a value of type {type(value).__name__} has no canonical form")
