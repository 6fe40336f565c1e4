"""The bytes of a statement: kept whole and compressed, read again piece by piece within limits."""

import codecs
import csv
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final

from remit.reconcile.statements.model import StatementError

MAX_PACKED_BYTES: Final = 64 * 1024 * 1024
MAX_BYTES: Final = 2 * 1024 * 1024 * 1024
MAX_JSON_CHARACTERS: Final = 64 * 1024 * 1024
MAX_LINE_CHARACTERS: Final = 1024 * 1024
MAX_COLUMNS: Final = 2_000
_PIECE: Final = 256 * 1024
_GZIP: Final = b"\x1f\x8b"
_SPLIT: Final = "export it by day, or by account, and import the parts"


@dataclass(frozen=True, slots=True)
class Raw:
    """A statement's bytes: their digest and number as they came, and themselves in zlib's form."""

    sha256: bytes
    size_bytes: int
    packed: bytes

    def pieces(self) -> Iterator[bytes]:
        """The bytes as they came, piece by piece."""
        return _inflate(self._packed_pieces(), zlib.MAX_WBITS)

    def content(self) -> Iterator[bytes]:
        """The same, but what came as gzip is opened. Raises StatementError."""
        pieces = self.pieces()
        first = b""
        for piece in pieces:
            first += piece
            if len(first) >= len(_GZIP):
                break
        whole = _chain(first, pieces)
        return _inflate(whole, zlib.MAX_WBITS | 16) if first.startswith(_GZIP) else whole

    def _packed_pieces(self) -> Iterator[bytes]:
        for start in range(0, len(self.packed), _PIECE):
            yield self.packed[start : start + _PIECE]


def pack(pieces: Iterable[bytes]) -> Raw:
    """Takes a statement's bytes in. Raises StatementError where they are more than is kept."""
    digest, size, deflate, packed = sha256(), 0, zlib.compressobj(6), bytearray()
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
        packed += deflate.compress(piece)
        if size > MAX_BYTES or len(packed) > MAX_PACKED_BYTES:
            raise StatementError(f"the file is larger than what is kept (64 MiB compressed, 2 GiB in all): {_SPLIT}")
    packed += deflate.flush()
    if len(packed) > MAX_PACKED_BYTES:
        raise StatementError(f"the file is larger than what is kept (64 MiB compressed): {_SPLIT}")
    return Raw(digest.digest(), size, bytes(packed))


def csv_rows(
    raw: Raw, header: Callable[[list[str]], None], *, delimiter: str = ","
) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows by column, each with the line of the file it ends on; empty lines are none. Raises StatementError.

    `header` is told the names of the columns first, also where there is no row.
    """
    reader = csv.reader(_lines(raw), delimiter=delimiter, strict=True)
    names: list[str] | None = None
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            raise StatementError(f"it is not CSV: {error}", reader.line_num) from None
        if not cells:
            continue
        if names is None:
            names = [name.strip() for name in cells]
            _check_names(names, reader.line_num)
            header(names)
            continue
        if len(cells) != len(names):
            raise StatementError(f"{len(cells)} cells, but the header names {len(names)}", reader.line_num)
        yield reader.line_num, dict(zip(names, cells, strict=True))
    if names is None:
        raise StatementError("there is nothing in it, not even a header")


def json_documents(raw: Raw) -> list[Any]:
    """All JSON values: one document, one a line, or one after the other. Numbers with a point are Decimal. Raises StatementError."""
    text = "".join(_bounded(_text(raw)))
    decoder = json.JSONDecoder(parse_float=_decimal, parse_constant=_no_constant, parse_int=_integer)
    found: list[Any] = []
    at = 0
    while True:
        while at < len(text) and text[at] in " \t\r\n":
            at += 1
        if at == len(text):
            return found
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            line = text.count("\n", 0, getattr(error, "pos", at)) + 1
            raise StatementError(f"it is not JSON: {error}", line) from None
        found.append(value)


def json_lines(raw: Raw) -> Iterator[tuple[int, Any]]:
    """The JSON value of each line, read one by one. Raises StatementError."""
    for number, line in enumerate(_lines(raw), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line, parse_float=_decimal, parse_constant=_no_constant, parse_int=_integer)
        except (ValueError, RecursionError) as error:
            raise StatementError(f"it is not JSON, one object a line: {error}", number) from None


def looks_like(raw: Raw) -> str:
    """`parquet`, `json` or `csv`, by the first bytes."""
    head = b""
    for piece in raw.content():
        head += piece
        if len(head) >= 64:
            break
    if head.startswith(b"PAR1"):
        return "parquet"
    return "json" if head.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in {b"{", b"["} else "csv"


def _check_names(names: list[str], line: int) -> None:
    if len(names) > MAX_COLUMNS:
        raise StatementError(f"{len(names)} columns, at most {MAX_COLUMNS} are read", line)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise StatementError(f"the header names `{twice[0]}` twice", line)


def _inflate(pieces: Iterable[bytes], form: int) -> Iterator[bytes]:
    """What was compressed, in bounded pieces and at most MAX_BYTES: a small file may say that it is a huge one."""
    inflate, total = zlib.decompressobj(form), 0
    try:
        for piece in pieces:
            rest = piece
            while rest:
                if inflate.eof:
                    # gzip files may stand one behind the other (RFC 1952, section 2.2).
                    inflate = zlib.decompressobj(form)
                out = inflate.decompress(rest, _PIECE)
                total += len(out)
                if total > MAX_BYTES:
                    raise StatementError(f"uncompressed it is larger than 2 GiB: {_SPLIT}")
                if out:
                    yield out
                rest = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
    except zlib.error as error:
        raise StatementError(f"it is not gzip: {error}") from None
    if not inflate.eof:
        raise StatementError("it breaks off in the middle of what was compressed")


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _text(raw: Raw) -> Iterator[str]:
    decode = codecs.getincrementaldecoder("utf-8-sig")()
    try:
        for piece in raw.content():
            yield decode.decode(piece)
        yield decode.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise StatementError(f"it is not text in UTF-8: {error.reason}") from None


def _lines(raw: Raw) -> Iterator[str]:
    """Lines with their ends; only LF ends one, so that a cell may hold any other separator."""
    rest = ""
    for piece in _text(raw):
        *whole, rest = (rest + piece).split("\n")
        for line in whole:
            yield f"{line}\n"
        if len(rest) > MAX_LINE_CHARACTERS:
            raise StatementError("a line is longer than a million characters")
    if rest:
        yield rest


def _bounded(pieces: Iterable[str]) -> Iterator[str]:
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > MAX_JSON_CHARACTERS:
            raise StatementError(f"as JSON it is larger than 64 MiB: {_SPLIT}")
        yield piece


def _decimal(text: str) -> Decimal:
    if len(text) > 60:
        raise ValueError(f"the number `{text[:20]}...` is longer than 60 characters")
    try:
        return Decimal(text)
    except ArithmeticError:
        raise ValueError(f"the number `{text}` is out of range") from None


def _integer(text: str) -> int:
    if len(text) > 40:
        raise ValueError(f"the number `{text[:20]}...` is longer than 40 digits")
    return int(text)


def _no_constant(text: str) -> Any:
    raise ValueError(f"`{text}` is no number")
