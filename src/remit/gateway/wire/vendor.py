"""The protocol that faces a vendor: one call at a time per connection, exactly one terminal callback per call."""

import asyncio
from typing import TYPE_CHECKING, Final, Literal, Protocol, cast

from remit.gateway.wire.chunked import ChunkedDecoder
from remit.gateway.wire.head import CHUNKED, UNTIL_EOF, Headers, MalformedError, ResponseHead, parse_response_head

if TYPE_CHECKING:
    from remit.gateway.wire.pool import VendorPool

NEVER: Final = float("inf")

FailureReason = Literal[
    "dns_failed",
    "connect_failed",
    "connect_timeout",
    "tls_failed",
    "pool_full",
    "wait_timeout",
    "pool_closed",
    "write_timeout",
    "first_byte_timeout",
    "read_timeout",
    "connection_reset",
    "closed_early",
    "malformed_response",
    "head_too_large",
    "body_too_large",
    "sink_failed",
]


class VendorSink(Protocol):
    """Receives one response: `on_head`, any number of `on_body`, then `on_complete`; or `on_failure` at any point.

    Exactly one of `on_complete` and `on_failure` is called, never from inside `VendorPool.send`, and nothing after it.
    After `VendorCall.abort` nothing more is called at all.
    """

    def on_head(self, status: int, headers: Headers) -> None:
        """The final response's head; interim (1xx) responses are skipped. Names are lower-case."""

    def on_body(self, data: bytes) -> None:
        """A piece of the body without its transfer coding; never empty."""

    def on_complete(self) -> None:
        """The response ended as its framing said it would."""

    def on_failure(self, reason: FailureReason, sent: bool, head_received: bool) -> None:
        """`sent` is False only if not one byte of the request can have reached the vendor."""


class VendorCall:
    """The sender's handle on one request."""

    __slots__ = (
        "_body_bytes",
        "_connection",
        "_pool",
        "answers_head",
        "deadline",
        "done",
        "head_received",
        "paused",
        "payload",
        "sent",
        "sink",
        "stream",
    )

    def __init__(self, pool: "VendorPool", payload: bytes, sink: VendorSink, stream: bool) -> None:
        self._pool = pool
        self._connection: VendorConnection | None = None
        self._body_bytes = 0
        self.payload = payload
        self.sink = sink
        self.stream = stream
        self.answers_head = payload.startswith(b"HEAD ")
        self.deadline = NEVER
        self.paused = False
        self.sent = False
        self.head_received = False
        self.done = False

    def pause(self) -> None:
        """Stops reading the response; what was read already may still be delivered (one read of the socket at most)."""
        if not self.paused and not self.done:
            self.paused = True
            if self._connection is not None:
                self._connection.pause()

    def resume(self) -> None:
        """Reads on."""
        if self.paused and not self.done:
            self.paused = False
            if self._connection is not None:
                self._connection.resume()

    def abort(self) -> None:
        """Gives up: no callback follows, and the connection, if there is one by now, is closed."""
        if self.done:
            return
        self.done = True
        connection = self._connection
        self._connection = None
        if connection is not None:
            connection.drop()
        self._pool.abandoned(self)

    # For the pool and the connection

    def attach(self, connection: "VendorConnection") -> None:
        """The request is about to be written there."""
        self._connection = connection
        self.sent = True
        self.payload = b""

    def fail(self, reason: FailureReason) -> None:
        """The terminal callback for every failure."""
        if self.done:
            return
        self.done = True
        self._connection = None
        try:
            self.sink.on_failure(reason, self.sent, self.head_received)
        except Exception as error:  # noqa: BLE001 - a sink may raise anything; its call must end once
            self._pool.report(error)

    def complete(self) -> None:
        """The terminal callback for success."""
        if self.done:
            return
        self.done = True
        self._connection = None
        try:
            self.sink.on_complete()
        except Exception as error:  # noqa: BLE001 - a sink may raise anything; its call must end once
            self._pool.report(error)

    def deliver(self, data: bytes) -> None:
        """Hands on a piece of body. Raises `TooLargeError`, and whatever the sink raises."""
        if not self.stream:
            self._body_bytes += len(data)
            if self._body_bytes > self._pool.limits.max_body_bytes:
                raise TooLargeError("body_too_large")
        self.sink.on_body(data)


class TooLargeError(Exception):
    """A response beyond a limit; `reason` says which."""

    def __init__(self, reason: Literal["head_too_large", "body_too_large"]) -> None:
        super().__init__(reason)
        self.reason: FailureReason = reason


class VendorConnection(asyncio.Protocol):
    """One connection to a vendor. Made by `VendorPool` only."""

    __slots__ = (
        "_answer",
        "_buffer",
        "_call",
        "_decoder",
        "_interim",
        "_left",
        "_pool",
        "_transport",
        "_usable",
        "deadline",
    )

    _transport: asyncio.Transport

    def __init__(self, pool: "VendorPool") -> None:
        self._pool = pool
        self._call: VendorCall | None = None
        self._usable = False
        self._buffer = b""
        self._answer: ResponseHead | None = None
        self._interim = 0
        self._left = 0
        self._decoder: ChunkedDecoder | None = None
        self.deadline = NEVER

    # What the pool and the call use

    @property
    def usable(self) -> bool:
        """Whether a request may be written: open, idle, nothing received out of turn."""
        return self._usable and self._call is None and not self._transport.is_closing()

    def begin(self, call: VendorCall) -> None:
        """Writes the request of a call."""
        payload = call.payload
        self._call = call
        self._answer = None
        self._interim = 0
        limits = self._pool.limits
        self.deadline = self._pool.deadline_in(limits.first_byte_timeout_seconds)
        call.attach(self)
        self._transport.write(payload)
        if call.paused:
            self.pause()

    def rest(self) -> None:
        """The connection goes idle: it is closed when nobody needs it for `idle_seconds`."""
        self.deadline = self._pool.deadline_in(self._pool.limits.idle_seconds)

    def pause(self) -> None:
        """Stops reading; silence no longer counts."""
        self.deadline = NEVER
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Reads on; silence counts from now."""
        self._restart_deadline()
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def drop(self) -> None:
        """Closes at once and tells nobody."""
        self._call = None
        self._usable = False
        self._transport.abort()

    def sweep(self, now: float) -> None:
        """Acts on a deadline that has passed."""
        if now < self.deadline:
            return
        if self._call is None:
            self.drop()
        elif self._answer is not None:
            self.fail("read_timeout")
        elif self._transport.get_write_buffer_size() > 0:
            self.fail("write_timeout")
        else:
            self.fail("first_byte_timeout")

    def fail(self, reason: FailureReason) -> None:
        """Closes the connection and ends the call, if there is one."""
        call = self._call
        self.drop()
        if call is not None:
            call.fail(reason)

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection, TLS included, is ready."""
        self._transport = cast(asyncio.Transport, transport)
        self._usable = True

    def pause_writing(self) -> None:
        """The vendor is slow to read a large request."""
        if self._answer is None and self._call is not None and not self._call.paused:
            self.deadline = self._pool.deadline_in(self._pool.limits.write_timeout_seconds)

    def resume_writing(self) -> None:
        """The vendor has read on."""
        if self._call is not None and not self._call.paused:
            self._restart_deadline()

    def data_received(self, data: bytes) -> None:
        """Takes bytes in any cut."""
        call = self._call
        if call is None:
            self.drop()  # Nothing was asked: whatever this is, it must not be taken for the next answer.
            return
        try:
            if self._answer is None:
                self._take_head(call, self._buffer + data if self._buffer else data)
            else:
                if not call.paused:
                    self.deadline = self._pool.deadline_in(self._pool.limits.read_idle_timeout_seconds)
                self._take_body(call, data)
        except MalformedError as problem:
            self.fail("body_too_large" if problem.status == 413 else "malformed_response")
        except TooLargeError as problem:
            self.fail(problem.reason)
        except Exception as error:  # noqa: BLE001 - a sink may raise anything; its call must end once
            self._pool.report(error)
            self.fail("sink_failed")

    def eof_received(self) -> None:
        """The vendor will send no more: the clean end of a body without other framing, an early end of anything else."""
        self._usable = False
        call = self._call
        if call is not None and self._answer is not None and self._answer.body_length == UNTIL_EOF:
            self._finish(call, reuse=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of the connection, and of a call that was still running on it."""
        self._usable = False
        self.deadline = NEVER
        self._buffer = b""
        call = self._call
        self._call = None
        self._pool.lost(self)
        if call is not None:
            call.fail("closed_early" if exc is None else "connection_reset")

    # Reading

    def _restart_deadline(self) -> None:
        limits = self._pool.limits
        seconds = limits.first_byte_timeout_seconds if self._answer is None else limits.read_idle_timeout_seconds
        self.deadline = self._pool.deadline_in(seconds)

    def _take_head(self, call: VendorCall, data: bytes) -> None:
        limits = self._pool.limits
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if end <= 3:
                if len(data) > limits.max_head_bytes:
                    raise TooLargeError("head_too_large")
                if not (data.startswith(b"HTTP/1.") or b"HTTP/1.".startswith(data)):
                    raise MalformedError(502, "this is not HTTP/1.1")
                self._buffer = data
                return
            if end > limits.max_head_bytes:
                raise TooLargeError("head_too_large")
            head = parse_response_head(data[:end], call.answers_head, limits.max_headers)
            data = data[end:]
            self._buffer = b""
            if head.status >= 200:
                break
            self._interim += 1
            if head.status == 101 or self._interim > limits.max_interim_responses:
                raise MalformedError(502, "an interim response that was not asked for")
            if not data:
                return
        self._start_body(call, head)
        if self._call is not call:
            return
        if head.body_length == 0:
            self._finish(call, reuse=not data)
        elif data:
            self._take_body(call, data)

    def _start_body(self, call: VendorCall, head: ResponseHead) -> None:
        limits = self._pool.limits
        length = head.body_length
        max_body_bytes = 1 << 62 if call.stream else limits.max_body_bytes
        if length > max_body_bytes:
            raise TooLargeError("body_too_large")
        self._answer = head
        if length == CHUNKED:
            self._decoder = ChunkedDecoder(max_body_bytes)
        else:
            self._left = length
        if not call.paused:
            self.deadline = self._pool.deadline_in(limits.read_idle_timeout_seconds)
        call.head_received = True
        call.sink.on_head(head.status, head.headers)

    def _take_body(self, call: VendorCall, data: bytes) -> None:
        answer = self._answer
        assert answer is not None
        if answer.body_length == CHUNKED:
            self._take_chunks(call, data)
        elif answer.body_length == UNTIL_EOF:
            call.deliver(data)
        else:
            size = len(data)
            left = self._left
            if size < left:
                self._left = left - size
                call.deliver(data)
                return
            call.deliver(data if size == left else data[:left])
            if self._call is call:
                self._finish(call, reuse=size == left)

    def _take_chunks(self, call: VendorCall, data: bytes) -> None:
        decoder = self._decoder
        assert decoder is not None
        pieces: list[bytes] = []
        fault: MalformedError | None = None
        used = 0
        try:
            used = decoder.feed(data, pieces)
        except MalformedError as problem:
            fault = problem
        if pieces:
            call.deliver(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            if self._call is not call:
                return
        if fault is not None:
            raise fault
        if decoder.done:
            self._finish(call, reuse=used == len(data))

    def _finish(self, call: VendorCall, reuse: bool) -> None:
        answer = self._answer
        assert answer is not None
        transport = self._transport
        self._call = None
        self._answer = None
        self._decoder = None
        if (
            reuse
            and self._usable
            and answer.keep_alive
            and not transport.is_closing()
            and transport.get_write_buffer_size() == 0
        ):
            if call.paused:
                transport.resume_reading()
            self._pool.release(self)
        else:
            self.drop()
        call.complete()
