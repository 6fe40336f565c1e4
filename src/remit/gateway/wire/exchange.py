"""One request and its answer, as the handler sees them."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from remit.gateway.wire.head import Headers, RequestHead, render_head
from remit.gateway.wire.tls import PeerCertificate

_JOIN_BELOW: Final = 64 * 1024
_WAITING, _STREAMING, _OVER = range(3)


class Link(Protocol):
    """What an exchange needs from the connection it came on."""

    @property
    def closes_after_this(self) -> bool:
        """Whether the answer announces the end of the connection."""

    @property
    def write_paused(self) -> bool:
        """Whether the caller is behind with reading."""

    def send(self, data: bytes) -> None:
        """Writes, or does nothing on a connection that is gone."""

    def exchange_over(self) -> None:
        """The answer is complete: next request, or close."""

    def cut(self, reset: bool) -> None:
        """Ends the connection in the middle of an answer; `reset` where a plain end would look like a clean one."""


class Exchange:
    """A request whose head and body have been read whole, and the way to answer it, exactly once.

    Header names are lower-case, values without surrounding white space. `target` is as received, query included;
    `path` is the target without query and, for absolute targets, without scheme and host; nothing is percent-decoded.
    `peer` is the caller's IP address, or "" on a Unix socket; `certificate` what they proved by TLS on this connection, None
    where that is nothing.

    The handler sets the three callbacks. `on_gone` comes at most once, only while the exchange runs; from then on
    writing does nothing and the exchange counts as over. `on_pause` and `on_resume` come in turns, possibly from inside
    `start`, `write` or `respond`.
    """

    __slots__ = (
        "_bodiless",
        "_chunked",
        "_link",
        "_minor",
        "_state",
        "body",
        "certificate",
        "gone",
        "headers",
        "method",
        "on_gone",
        "on_pause",
        "on_resume",
        "path",
        "peer",
        "target",
    )

    def __init__(
        self, link: Link, head: RequestHead, body: bytes, peer: str, certificate: PeerCertificate | None = None
    ) -> None:
        self._link = link
        self._minor = head.minor
        self._state = _WAITING
        self._bodiless = head.method == b"HEAD"
        self._chunked = False
        self.method: bytes = head.method
        self.target: bytes = head.target
        self.path: bytes = head.path
        self.headers: Headers = head.headers
        self.body = body
        self.peer = peer
        self.certificate = certificate
        self.gone = False
        self.on_gone: Callable[[], None] | None = None
        self.on_pause: Callable[[], None] | None = None
        self.on_resume: Callable[[], None] | None = None

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header by its lower-case name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    @property
    def started(self) -> bool:
        """Whether an answer was begun: it can no longer be replaced by another one."""
        return self._state != _WAITING

    @property
    def over(self) -> bool:
        """Whether the answer is complete, was cut, or has nobody left to read it."""
        return self._state == _OVER or self.gone

    @property
    def paused(self) -> bool:
        """Whether the caller is behind with reading and the handler should stop producing."""
        return not self.over and self._link.write_paused

    def respond(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        """The whole answer at once. Content-length and connection are added here, other headers are the handler's.

        ValueError for headers that would break the message or that the wire decides; RuntimeError for a second answer.
        """
        self._begin(status)
        link = self._link
        end = b"connection: close\r\n\r\n" if link.closes_after_this else b"\r\n"
        if status in (204, 304):
            head = render_head(status, headers, end)
            body = b""
        else:
            head = render_head(status, headers, b"content-length: %d\r\n%b" % (len(body), end))
            if self._bodiless:
                body = b""
        self._state = _OVER
        if self.gone:
            return
        if len(body) < _JOIN_BELOW:
            link.send(head + body)
        else:
            link.send(head)
            link.send(body)
        link.exchange_over()

    def start(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Begins an answer of unknown length: chunked, or up to the end of the connection for HTTP/1.0."""
        self._begin(status)
        link = self._link
        end = b"connection: close\r\n\r\n" if link.closes_after_this else b"\r\n"
        if status in (204, 304):
            self._bodiless = True
        elif self._minor == 1:
            self._chunked = True
            end = b"transfer-encoding: chunked\r\n" + end
        head = render_head(status, headers, end)
        self._state = _STREAMING
        if not self.gone:
            link.send(head)

    def write(self, data: bytes) -> None:
        """A piece of the answer's body; an empty one is nothing."""
        if self._state != _STREAMING:
            if self.over:
                return
            raise RuntimeError("write() before start()")
        if not data or self._bodiless or self.gone:
            return
        self._link.send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def finish(self, trailers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """Ends an answer begun with `start`. Does nothing on an exchange that is over.

        Trailers (RFC 9112 section 7.1.2) are sent where the answer is chunked; names and values are the handler's own.
        """
        if self._state != _STREAMING:
            if self.over:
                return
            raise RuntimeError("finish() before start()")
        self._state = _OVER
        if self.gone:
            return
        if self._chunked and not self._bodiless:
            fields = b"".join(b"%b: %b\r\n" % field for field in trailers)
            self._link.send(b"0\r\n%b\r\n" % fields)
        self._link.exchange_over()

    def abort(self) -> None:
        """Cuts the connection so that the holder sees a broken answer, never a clean end.

        What was written before is still delivered where the framing shows the break by itself.
        """
        if self.over:
            return
        unframed = self._state == _STREAMING and not self._chunked and not self._bodiless
        self._state = _OVER
        self._link.cut(unframed)

    def _begin(self, status: int) -> None:
        if self._state != _WAITING:
            raise RuntimeError("the exchange was answered already")
        if not 200 <= status <= 599:
            raise ValueError(f"{status} cannot be a final status")
