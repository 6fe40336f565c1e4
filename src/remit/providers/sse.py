"""Splitting a byte stream into server-sent events, whatever the fragmentation (WHATWG HTML, section 9.2)."""

import re

# A blank line ends an event: two line ends in a row, each CRLF, LF or CR. The groups are atomic so that one CRLF is
# never taken for two line ends.
_END = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE = re.compile(rb"\r\n|\n|\r")

MAX_EVENT_BYTES = 1 << 20


class EventSplitter:
    """Cuts fed bytes into complete events, each with its blank line; their concatenation is the stream."""

    def __init__(self) -> None:
        self._tail = b""
        self._searched = 0  # no event ends before this offset of the tail

    @property
    def pending(self) -> bytes:
        """What has been fed since the last complete event."""
        return self._tail

    def feed(self, data: bytes) -> list[bytes]:
        """The events that are complete now. Bytes after them stay pending, without bound: the caller checks."""
        if not self._tail and data.endswith(b"\n\n") and b"\r" not in data and data.find(b"\n\n") == len(data) - 2:
            return [data]  # the usual case: one whole event
        tail = self._tail + data
        next_end = _next_end if b"\r" in tail else _next_plain_end
        events: list[bytes] = []
        begin, end = 0, next_end(tail, self._searched)
        while end:
            events.append(tail[begin:end])
            begin, end = end, next_end(tail, end)
        self._tail = tail[begin:]
        self._searched = max(0, len(self._tail) - 3)
        return events

    def finish(self) -> bytes:
        """What is left when the stream ends."""
        tail, self._tail, self._searched = self._tail, b"", 0
        return tail


def _next_plain_end(text: bytes, position: int) -> int:
    """Where the next event ends in a text without CR, 0 where none does; many times faster than the pattern."""
    found = text.find(b"\n\n", position)
    return 0 if found < 0 else found + 2


def _next_end(text: bytes, position: int) -> int:
    """Where the next event ends, 0 where none does yet."""
    match = _END.search(text, position)
    if match is None or (match.end() == len(text) and text.endswith(b"\r")):
        return 0  # after a last CR the LF that belongs to it may still come
    return match.end()


def event_data(event: bytes) -> bytes | None:
    """The data of one event: its `data` lines joined by LF; None where it has none (comments, bare ids)."""
    if event.startswith(b"data: ") and event.find(b"\n") == len(event) - 2 and b"\r" not in event:
        return event[6:-2]  # the usual case: one line
    lines: list[bytes] = []
    for line in _LINE.split(event):
        if line == b"data":
            lines.append(b"")
        elif line.startswith(b"data:"):
            lines.append(line[6:] if line.startswith(b"data: ") else line[5:])
    return b"\n".join(lines) if lines else None
