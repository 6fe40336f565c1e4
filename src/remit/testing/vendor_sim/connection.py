"""One caller's HTTP/1.1 connection: parse, answer one request after another, keep the limits."""

import asyncio
import contextlib
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Final, cast

import httptools

from remit.testing.vendor_sim import wire
from remit.testing.vendor_sim.generation import Refusal

if TYPE_CHECKING:
    from remit.testing.vendor_sim.call import Call
    from remit.testing.vendor_sim.server import VendorSim

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_BODY_BYTES: Final = 32 * 1024 * 1024
_MAX_QUEUED_REQUESTS: Final = 32
_WANTED_HEADERS: Final = frozenset({b"authorization", b"x-client-request-id", b"idempotency-key", b"expect"})
_LINGER_ZERO: Final = struct.pack("ii", 1, 0)
_RESET_DELAY_SECONDS: Final = 0.005
_RESET_ATTEMPTS: Final = 200


class Request:
    """One request as it was read; header names are lower case, only those that matter are kept."""

    __slots__ = ("body", "chunked", "headers", "keep_alive", "method", "target")

    def __init__(
        self, method: bytes, target: bytes, headers: dict[bytes, bytes], body: bytes, *, keep_alive: bool, chunked: bool
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.keep_alive = keep_alive
        self.chunked = chunked

    def header(self, name: bytes) -> str | None:
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")


class Connection(asyncio.Protocol):
    """The server side of a connection. At most one request is worked on; pipelined ones wait their turn."""

    __slots__ = (
        "_body", "_body_bytes", "_head_bytes", "_header_bytes", "_headers", "_in_head", "_keep_alive", "_parser", "_queue", "_sim",
        "_target", "_too_long", "call", "closed", "paused", "transport",
    )  # fmt: skip

    transport: asyncio.Transport

    def __init__(self, sim: "VendorSim") -> None:
        self._sim = sim
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Request] = deque()
        self._keep_alive = True
        self.call: Call | None = None
        self.closed = False
        self.paused = False
        self._too_long = False
        self._begin()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._sim.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._queue.clear()
        self._sim.connections.discard(self)
        if self.call is not None:
            self.call.caller_lost()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self.call is not None:
            self.call.caller_ready()

    def data_received(self, data: bytes) -> None:
        if not self._keep_alive:
            return  # what follows a last request is not read
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(Refusal(400, "upgrades are not supported"))
        except httptools.HttpParserCallbackError:
            self.transport.abort()
            raise  # a mistake of ours: the loop reports it
        except httptools.HttpParserError:
            self._refuse(Refusal(400, "not a valid HTTP/1.1 request"))
        else:
            if self._too_long or (self._in_head and self._head_bytes > MAX_HEAD_BYTES):
                self._refuse(Refusal(431, f"the head is longer than {MAX_HEAD_BYTES} bytes"))
            elif self._body_bytes > MAX_BODY_BYTES:
                self._refuse(Refusal(413, f"the body is longer than {MAX_BODY_BYTES} bytes"))

    # the parser's side

    def on_message_begin(self) -> None:
        self._begin()

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        name = name.lower()
        if name in _WANTED_HEADERS:
            self._headers[name] = value

    def on_headers_complete(self) -> None:
        self._in_head = False
        # A whole head that came in one read was never counted as an unfinished one.
        self._too_long = self._too_long or self._header_bytes + len(self._target) > MAX_HEAD_BYTES
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes <= MAX_BODY_BYTES:
            self._body.append(body)

    def on_message_complete(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        if self._body_bytes > MAX_BODY_BYTES or self._too_long or self.closed or not self._keep_alive:
            return
        body = self._body
        old = self._parser.get_http_version() == "1.0"
        request = Request(
            self._parser.get_method(),
            self._target,
            self._headers,
            body[0] if len(body) == 1 else b"".join(body),
            keep_alive=self._parser.should_keep_alive() and not old,
            chunked=not old,
        )
        if self.call is None and not self._queue:
            self._serve(request)
        else:
            self._queue.append(request)
            if len(self._queue) == _MAX_QUEUED_REQUESTS:
                self.transport.pause_reading()

    # the answer's side

    def answer(self, data: bytes) -> None:
        """Write a whole answer and go on to the next request."""
        if not self.closed:
            self.transport.write(data)
        self.answered()

    def answered(self) -> None:
        """The answer to the current request is written."""
        self.call = None
        if self.closed:
            return
        if not self._keep_alive:
            self.transport.close()
        elif self._queue:
            self._sim.loop.call_soon(self._serve_next)

    def drop(self) -> None:
        """Close after what is written has gone out, without another answer."""
        self.call = None
        self._keep_alive = False
        self._queue.clear()
        if not self.closed:
            self.transport.close()

    def reset(self, attempts: int = _RESET_ATTEMPTS) -> None:
        """Send what is written, then a TCP reset."""
        self.call = None
        self._keep_alive = False
        self._queue.clear()
        self._sim.loop.call_later(_RESET_DELAY_SECONDS, self._reset_when_written, attempts)

    def _reset_when_written(self, attempts: int) -> None:
        if self.closed:
            return
        if self.transport.get_write_buffer_size() and attempts:
            self._sim.loop.call_later(_RESET_DELAY_SECONDS, self._reset_when_written, attempts - 1)
            return
        peer = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):  # the caller may have gone in this instant
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self.transport.abort()

    def _begin(self) -> None:
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._header_bytes = 0
        self._in_head = True

    def _serve_next(self) -> None:
        if self.closed or self.call is not None or not self._queue:
            return
        request = self._queue.popleft()
        if not self._queue:
            self.transport.resume_reading()
        self._serve(request)

    def _serve(self, request: Request) -> None:
        self._keep_alive = request.keep_alive
        if not request.keep_alive:
            self._queue.clear()
        self._sim.serve(self, request)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer a request that cannot be read, and close; an answer under way is cut off instead."""
        if self.closed or self.transport.is_closing():
            return
        if self.call is None and not self._queue:
            body = wire.error_body(refusal)
            head = wire.head(refusal.status, wire.JSON_TYPE, len(body), b"none", extra=b"connection: close\r\n")
            self.transport.write(head + body)
        self._keep_alive = False
        self._queue.clear()
        self.transport.close()
