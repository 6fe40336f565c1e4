"""The chunked transfer coding (RFC 9112 section 7.1), strict, for requests and responses alike.

Own code and not llhttp's because the exact end of the body must be known (what follows is the next message and gets its
own checks), and because extensions and trailers must be bounded. Trailers are checked and dropped.
"""

import re
from functools import lru_cache
from typing import Final

from remit.gateway.wire.head import TOKEN, MalformedError

MAX_LINE_BYTES: Final = 1024
MAX_EXTENSION_BYTES: Final = 4096
MAX_TRAILER_BYTES: Final = 8192
# Tiny chunks cost far more to read than the bytes they carry, so beyond a number of them their average is bounded.
MAX_TINY_CHUNKS: Final = 8192
MIN_CHUNK_BYTES: Final = 16

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_TRAILER_LINE = re.compile(rb"(" + TOKEN + rb"):[\t\x20-\x7e\x80-\xff]*\r\n")
_FORBIDDEN_TRAILERS = frozenset((b"content-length", b"transfer-encoding", b"host", b"authorization", b"trailer"))

_SIZE, _DATA, _CR, _LF, _TRAILER = range(5)


@lru_cache(maxsize=1024)
def _read_size_line(line: bytes) -> tuple[int, int]:
    match = _SIZE_LINE.fullmatch(line)
    if match is None:
        raise MalformedError(400, "the chunk size is malformed")
    return int(match[1], 16), len(match[2] or b"")


class ChunkedDecoder:
    """Decodes one body. `total_bytes` counts what the chunk sizes announced so far."""

    __slots__ = (
        "_chunks",
        "_extension_bytes",
        "_left",
        "_max_bytes",
        "_partial",
        "_state",
        "_trailer_bytes",
        "done",
        "total_bytes",
    )

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._state = _SIZE
        self._left = 0
        self._partial = b""
        self._chunks = 0
        self._extension_bytes = 0
        self._trailer_bytes = 0
        self.total_bytes = 0
        self.done = False

    def feed(self, data: bytes, out: list[bytes]) -> int:
        """Appends decoded pieces to `out` and returns how much of `data` was used: all of it until `done`.

        Raises `MalformedError`; pieces decoded before the fault are in `out` by then.
        """
        position = 0
        size = len(data)
        while position < size:
            state = self._state
            if state == _DATA:
                end = position + self._left
                if end > size:
                    self._left = end - size
                    out.append(data[position:])
                    return size
                out.append(data[position:end])
                position = end
                if data[end : end + 2] == b"\r\n":
                    position += 2
                    self._state = _SIZE
                else:
                    self._state = _CR
            elif state in (_CR, _LF):
                if data[position] != (13 if state == _CR else 10):
                    raise MalformedError(400, "the chunk does not end with CRLF")
                position += 1
                self._state = _LF if state == _CR else _SIZE
            else:
                position = self._line(data, position)
                if self.done:
                    return position
        return position

    def _line(self, data: bytes, position: int) -> int:
        """Reads a size or trailer line, or keeps the part of it that is there."""
        room = MAX_LINE_BYTES - len(self._partial)
        end = data.find(b"\n", position, position + room) + 1
        if end == 0:
            if len(data) - position >= room:
                raise MalformedError(400, "a chunk line is too long")
            self._partial += data[position:]
            return len(data)
        line = data[position:end]
        if self._partial:
            line = self._partial + line
            self._partial = b""
        if self._state == _SIZE:
            self._take_size(line)
        else:
            self._take_trailer(line)
        return end

    def _take_size(self, line: bytes) -> None:
        size, extension_bytes = _read_size_line(line)
        if extension_bytes:
            self._extension_bytes += extension_bytes
            if self._extension_bytes > MAX_EXTENSION_BYTES:
                raise MalformedError(400, "the chunk extensions are too long")
        if size == 0:
            self._state = _TRAILER
            return
        self.total_bytes += size
        self._chunks += 1
        if self._chunks > MAX_TINY_CHUNKS and self._chunks * MIN_CHUNK_BYTES > self.total_bytes:
            raise MalformedError(400, "the chunks are too small")
        if self.total_bytes > self._max_bytes:
            raise MalformedError(413, "the body is too large")
        self._left = size
        self._state = _DATA

    def _take_trailer(self, line: bytes) -> None:
        if line == b"\r\n":
            self.done = True
            return
        self._trailer_bytes += len(line)
        match = _TRAILER_LINE.fullmatch(line)
        if match is None or match[1].lower() in _FORBIDDEN_TRAILERS:
            raise MalformedError(400, "a trailer line is malformed")
        if self._trailer_bytes > MAX_TRAILER_BYTES:
            raise MalformedError(431, "the trailer is too large")
