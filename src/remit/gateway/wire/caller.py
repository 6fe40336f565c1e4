"""The protocol that faces callers: bytes in, exchanges out, one at a time per connection.

Phases: IDLE (nothing read of the next request) -> HEAD -> BODY -> RUNNING (an exchange is out) -> IDLE ... and at the end
LINGER (answered, discarding what the caller still sends) or CLOSING (flushing).
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from remit.gateway.wire.chunked import ChunkedDecoder
from remit.gateway.wire.exchange import Exchange
from remit.gateway.wire.head import (
    CHUNKED,
    Headers,
    MalformedError,
    RequestHead,
    is_hopeless,
    oversized,
    parse_request_head,
    render_head,
)
from remit.gateway.wire.tls import PeerCertificate

if TYPE_CHECKING:
    from remit.gateway.wire.server import CallerServer

IDLE, HEAD, BODY, RUNNING, LINGER, CLOSING = range(6)
NEVER: Final = float("inf")
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class CallerConnection(asyncio.Protocol):
    """One connection from a caller. Made by `CallerServer` only."""

    __slots__ = (
        "_advancing",
        "_body",
        "_buffer",
        "_certificate",
        "_decoder",
        "_ended",
        "_exchange",
        "_head",
        "_last",
        "_left",
        "_limits",
        "_peer",
        "_phase",
        "_position",
        "_reading_paused",
        "_scanned",
        "_server",
        "_transport",
        "_unread",
        "deadline",
        "write_deadline",
        "write_paused",
    )

    _transport: asyncio.Transport

    def __init__(self, server: "CallerServer") -> None:
        self._server = server
        self._limits = server.limits
        self._phase = IDLE
        self._buffer = b""
        self._position = 0
        self._scanned = 0
        self._head: RequestHead | None = None
        self._body = bytearray()
        self._unread = 0
        self._left = 0
        self._last = False
        self._decoder: ChunkedDecoder | None = None
        self._exchange: Exchange | None = None
        self._ended = False
        self._advancing = False
        self._reading_paused = False
        self._peer = ""
        self._certificate: PeerCertificate | None = None
        self.write_paused = False
        self.deadline = NEVER
        self.write_deadline = NEVER

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Counts the connection, or refuses it with 503 when there are too many."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if isinstance(peer, tuple) else ""
        secured = transport.get_extra_info("ssl_object")
        der = secured.getpeercert(binary_form=True) if secured is not None else None
        self._certificate = PeerCertificate(der) if der else None
        verdict = self._server.admit(self)
        if verdict is None:
            self._transport.abort()
        elif not verdict:
            self._refuse(503, "too many connections")
        else:
            self.deadline = self._server.deadline_in(self._limits.idle_timeout_seconds)

    def data_received(self, data: bytes) -> None:
        """Takes bytes in any cut."""
        phase = self._phase
        if phase == BODY:
            self._take_body(data)
            if self._phase == IDLE:
                self._advance()
        elif phase >= LINGER:
            return
        else:
            self._buffer = self._buffer + data if self._buffer else data
            if phase == RUNNING or self.write_paused:
                if len(self._buffer) - self._position > self._limits.max_pipelined_bytes:
                    self._pause_reading()
            else:
                self._advance()

    def eof_received(self) -> bool:
        """A caller may stop sending and still read: the running exchange is finished before the connection is closed.

        Over TLS the loop closes both directions whatever is returned here.
        """
        self._ended = True
        phase = self._phase
        if phase == RUNNING:
            return self._transport.can_write_eof()
        if phase in (HEAD, BODY):
            self._refuse(400, "the request ended early")
        elif phase == IDLE:
            self._shut()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells the handler, once, when an exchange was running."""
        self._server.forget(self)
        self._phase = CLOSING
        self.deadline = self.write_deadline = NEVER
        self._buffer = b""
        self._forget_body()
        exchange = self._exchange
        self._exchange = None
        if exchange is not None and not exchange.over:
            exchange.gone = True
            if exchange.on_gone is not None:
                self._call_back(exchange.on_gone)

    def pause_writing(self) -> None:
        """The caller is behind: it has `write_timeout_seconds` to catch up."""
        self.write_paused = True
        self.write_deadline = self._server.deadline_in(self._limits.write_timeout_seconds)
        exchange = self._exchange
        if exchange is not None and not exchange.over and exchange.on_pause is not None:
            self._call_back(exchange.on_pause)

    def resume_writing(self) -> None:
        """The caller caught up."""
        self.write_paused = False
        self.write_deadline = NEVER
        exchange = self._exchange
        if exchange is not None:
            if exchange.on_resume is not None:
                self._call_back(exchange.on_resume)
        elif self._phase <= HEAD:
            self._advance()

    # What the exchange calls

    @property
    def closes_after_this(self) -> bool:
        """Whether the running exchange is the connection's last. Once it says yes, it stays so."""
        if not self._last and self._server.draining:
            self._last = True
        return self._last

    def send(self, data: bytes) -> None:
        """Writes, or does nothing on a connection that is gone."""
        transport = self._transport
        if not transport.is_closing():
            transport.write(data)

    def exchange_over(self) -> None:
        """Next request, or close."""
        self._exchange = None
        if self._phase != RUNNING:
            return
        server = self._server
        if self._last or server.draining:
            self._hang_up()
            return
        self._phase = IDLE
        self.deadline = server.idle_deadline
        if not self._advancing and (self._buffer or self._ended or self._reading_paused):
            self._advance()

    def cut(self, reset: bool) -> None:
        """Ends the connection in the middle of an answer."""
        self._exchange = None
        transport = self._transport
        if transport.is_closing():
            return
        if reset:
            sock = transport.get_extra_info("socket")
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        if reset or self.write_paused:
            self._phase = CLOSING
            transport.abort()
        else:
            self._shut()

    # What the server calls

    def sweep(self, now: float) -> None:
        """Acts on a deadline that has passed."""
        if now < self.deadline and now < self.write_deadline:
            return
        if now >= self.write_deadline or self._phase == CLOSING:
            self._phase = CLOSING
            self._transport.abort()
        elif self._phase == HEAD:
            self._refuse(408, "the head took too long")
        elif self._phase == BODY:
            self._refuse(408, "the body took too long")
        else:
            self._shut()

    def drain(self) -> None:
        """Closes the connection if nothing runs on it; otherwise the running answer is its last."""
        if self._phase == IDLE:
            self._shut()

    def abort(self) -> None:
        """Closes the connection now."""
        self._transport.abort()

    # Reading

    def _advance(self) -> None:
        """Reads requests from the buffer until one runs, the buffer is used up, or the caller is behind."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._phase <= HEAD and self._position < len(self._buffer) and not self.write_paused:
                if not self._read_head():
                    break
        finally:
            self._advancing = False
        phase = self._phase
        if phase >= LINGER:
            return
        if self._position:
            self._buffer = self._buffer[self._position :]
            self._position = 0
        if phase <= HEAD and not self.write_paused:
            if self._buffer and phase == IDLE:
                self._phase = HEAD
                self.deadline = self._server.deadline_in(self._limits.head_timeout_seconds)
            if self._ended:
                self.eof_received()
        if self._reading_paused and (self._phase <= BODY or len(self._buffer) <= self._limits.max_pipelined_bytes):
            self._reading_paused = False
            if not self._ended and not self._transport.is_closing():
                self._transport.resume_reading()

    def _read_head(self) -> bool:
        """Reads one request from the buffer; False when more bytes are needed."""
        buffer, start, limits = self._buffer, self._position, self._limits
        end = buffer.find(b"\r\n\r\n", start + self._scanned - 3 if self._scanned > 3 else start) + 4
        size = (end if end > 3 else len(buffer)) - start
        try:
            if size > limits.max_head_bytes:
                raise oversized(buffer[start : start + limits.max_head_bytes], limits.max_target_bytes)
            if end <= 3:
                fresh = start + self._scanned
                if fresh > start and buffer[fresh - 1] == 13:
                    fresh -= 1
                self._scanned = size
                if is_hopeless(buffer[fresh:]):
                    raise MalformedError(400, "control characters in the head")
                return False
            self._scanned = 0
            self._position = end
            head = parse_request_head(
                buffer[start:end], limits.max_headers, limits.max_target_bytes, limits.max_body_bytes
            )
        except MalformedError as problem:
            self._refuse(problem.status, problem.reason)
            return False
        self._head = head
        self._last = not head.keep_alive
        length = head.body_length
        if length == 0:
            self._run(head, b"")
        elif length > 0 and len(buffer) - end >= length:
            self._position = end + length
            self._run(head, buffer[end : end + length])
        else:
            self._await_body(head)
        return True

    def _await_body(self, head: RequestHead) -> None:
        rest = self._buffer[self._position :]
        self._buffer = b""
        self._position = 0
        self._phase = BODY
        self.deadline = self._server.deadline_in(self._limits.body_timeout_seconds)
        if head.body_length == CHUNKED:
            self._decoder = ChunkedDecoder(self._limits.max_body_bytes)
        else:
            self._left = head.body_length
        if rest:
            self._take_body(rest)
        elif head.expects_continue:
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _take_body(self, data: bytes) -> None:
        server = self._server
        server.unread_bytes += len(data)
        self._unread += len(data)
        if server.unread_bytes > self._limits.max_unread_bytes:
            self._refuse(503, "too many large requests at once")
            return
        decoder = self._decoder
        if decoder is None:
            left = self._left
            if len(data) < left:
                self._left = left - len(data)
                self._body += data
                return
            self._body += data[:left]
            used = left
        else:
            pieces: list[bytes] = []
            try:
                used = decoder.feed(data, pieces)
            except MalformedError as problem:
                self._refuse(problem.status, problem.reason)
                return
            for piece in pieces:
                self._body += piece
            if not decoder.done:
                return
            self._decoder = None
        self._buffer = data[used:]
        body = bytes(self._body)
        self._forget_body()
        assert self._head is not None
        self._run(self._head, body)

    def _forget_body(self) -> None:
        self._body = bytearray()
        self._server.unread_bytes -= self._unread
        self._unread = 0

    def _run(self, head: RequestHead, body: bytes) -> None:
        self._phase = RUNNING
        self.deadline = NEVER
        exchange = self._exchange = Exchange(self, head, body, self._peer, self._certificate)
        try:
            self._server.handler(exchange)
        except Exception as error:  # noqa: BLE001 - injected code may raise anything; the connection must end in order
            self._server.report(error)
            if exchange.started:
                exchange.abort()
            elif not exchange.gone:
                exchange.gone = True
                self._refuse(500, "the handler failed", bodiless=head.method == b"HEAD")

    # Ending

    def _refuse(self, status: int, reason: str, bodiless: bool = False) -> None:
        """Answers in the wire's own name and closes."""
        self._exchange = None
        headers: Headers
        try:
            headers, body = self._server.malformed(status, reason)
            head = render_head(status, headers, b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body))
        except Exception as error:  # noqa: BLE001 - injected code may raise anything; the connection must end in order
            self._server.report(error)
            body = b""
            head = render_head(status, (), b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.send(head if bodiless else head + body)
        self._hang_up(unread=True)

    def _hang_up(self, unread: bool = False) -> None:
        """Closes after an answer. If the caller may still be sending, input is discarded for a while first.

        Closing a socket with unread input makes the kernel send a reset, which can destroy the answer on its way.
        """
        transport = self._transport
        self._buffer = b""
        self._position = 0
        self._forget_body()
        if self._ended or transport.is_closing() or not transport.can_write_eof():
            self._shut()
        elif unread or self._reading_paused:
            self._phase = LINGER
            self.deadline = self._server.deadline_in(self._limits.linger_seconds)
            transport.write_eof()
            if self._reading_paused:
                self._reading_paused = False
                transport.resume_reading()
        else:
            self._shut()

    def _shut(self) -> None:
        """Flushes and closes; a caller that does not read has `write_timeout_seconds`."""
        self._phase = CLOSING
        self.deadline = self._server.deadline_in(self._limits.write_timeout_seconds)
        self._buffer = b""
        if not self._transport.is_closing():
            self._transport.close()

    def _pause_reading(self) -> None:
        if not self._reading_paused and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()

    def _call_back(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception as error:  # noqa: BLE001 - injected code may raise anything; the connection must end in order
            self._server.report(error)
