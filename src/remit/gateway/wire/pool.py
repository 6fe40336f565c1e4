"""Keep-alive connections to one vendor origin, with a bound, a queue and one rule about retries.

A request is tried again, once, only if not a byte of it can have reached the vendor. Whoever may have been heard is not
asked twice: the second answer would be paid for as well.
"""

import asyncio
import ssl
from collections import deque
from socket import gaierror
from typing import NamedTuple

from remit.gateway.wire.limits import VendorLimits
from remit.gateway.wire.vendor import FailureReason, VendorCall, VendorConnection, VendorSink


class Origin(NamedTuple):
    """Where a vendor listens. `scheme` is "https" or "http"."""

    scheme: str
    host: str
    port: int

    @property
    def host_header(self) -> bytes:
        """The value for the host header; the scheme's own port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return (host if self.port == default else f"{host}:{self.port}").encode()


class VendorPool:
    """Connections to one origin, for one event loop. https needs an `ssl_context`, see `vendor_ssl_context`."""

    def __init__(self, origin: Origin, ssl_context: ssl.SSLContext | None, limits: VendorLimits) -> None:
        if origin.scheme not in ("http", "https"):
            raise ValueError(f"unknown scheme {origin.scheme!r}")
        if (origin.scheme == "https") != (ssl_context is not None):
            raise ValueError("https needs an SSL context and http takes none")
        self.origin = origin
        self.limits = limits
        self._ssl_context = ssl_context
        self._idle: list[VendorConnection] = []
        self._connections: set[VendorConnection] = set()
        self._waiting: deque[VendorCall] = deque()
        self._dialing: dict[asyncio.Task[None], VendorCall] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tick = limits.sweep_seconds
        self._now = 0.0
        self._closed = False

    def send(self, head_and_body: bytes, sink: VendorSink, *, stream: bool = False) -> VendorCall:
        """Sends one whole request and returns at once. `stream` lifts the limit on the response body's size.

        The request must be framed right (see `render_request`); nothing here looks into it but for the word HEAD.
        """
        call = VendorCall(self, head_and_body, sink, stream)
        if self._timer is None:
            self._wake()
        if self._closed:
            self._fail_soon(call, "pool_closed")
            return call
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.usable:
                connection.begin(call)
                return call
        if len(self._connections) + len(self._dialing) < self.limits.max_connections:
            self._dial(call)
        elif len(self._waiting) < self.limits.max_waiting:
            call.deadline = self.deadline_in(self.limits.wait_timeout_seconds)
            self._waiting.append(call)
        else:
            self._fail_soon(call, "pool_full")
        return call

    @property
    def open_connections(self) -> int:
        """Connections that are open or being opened."""
        return len(self._connections) + len(self._dialing)

    @property
    def idle_connections(self) -> int:
        """Connections that wait for a request."""
        return len(self._idle)

    def close(self) -> None:
        """Closes everything now; running and waiting calls fail with `pool_closed`."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._idle.clear()
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            call.fail("pool_closed")
        for task, call in list(self._dialing.items()):
            task.cancel()
            call.fail("pool_closed")
        for connection in list(self._connections):
            connection.fail("pool_closed")

    # For calls and connections

    def deadline_in(self, seconds: float) -> float:
        """A deadline on the sweep's coarse clock: never early, late by two sweeps at most."""
        return self._now + self._tick + seconds

    def release(self, connection: VendorConnection) -> None:
        """A connection is free: it takes the next waiting call or goes idle."""
        waiting = self._waiting
        while waiting:
            call = waiting.popleft()
            if not call.done:
                connection.begin(call)
                return
        if self._closed or len(self._idle) >= self.limits.max_idle:
            connection.drop()
        else:
            connection.rest()
            self._idle.append(connection)

    def lost(self, connection: VendorConnection) -> None:
        """A connection is closed: the place it took is free."""
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._dial_for_waiting()

    def abandoned(self, call: VendorCall) -> None:
        """Its sender gave a call up: it must not keep its place in the queue."""
        if call.deadline != float("inf") and call in self._waiting:
            self._waiting.remove(call)

    def report(self, error: Exception) -> None:
        """Gives an error in a sink to the event loop's exception handler."""
        if self._loop is not None:
            self._loop.call_exception_handler({"message": "error in a vendor sink", "exception": error})

    # Dialing

    def _dial(self, call: VendorCall) -> None:
        assert self._loop is not None
        task = self._loop.create_task(self._connect(call))
        self._dialing[task] = call
        task.add_done_callback(self._dialed)

    def _dialed(self, task: asyncio.Task[None]) -> None:
        self._dialing.pop(task, None)
        self._dial_for_waiting()

    def _dial_for_waiting(self) -> None:
        while (
            self._waiting
            and not self._closed
            and len(self._connections) + len(self._dialing) < self.limits.max_connections
        ):
            call = self._waiting.popleft()
            if not call.done:
                self._dial(call)

    async def _connect(self, call: VendorCall) -> None:
        try:
            async with asyncio.timeout(self.limits.connect_timeout_seconds):
                connection = await self._open_with_retry()
        except TimeoutError:
            call.fail("connect_timeout")
        except gaierror:
            call.fail("dns_failed")
        except ssl.SSLError:
            call.fail("tls_failed")
        except (OSError, UnicodeError):
            call.fail("connect_failed")
        else:
            self._connections.add(connection)
            if self._closed or not connection.usable:
                connection.drop()
                call.fail("pool_closed" if self._closed else "connect_failed")
            elif call.done:
                self.release(connection)
            else:
                connection.begin(call)

    async def _open_with_retry(self) -> VendorConnection:
        """Nothing was sent yet: one more try is safe. Names and certificates do not get better by it."""
        try:
            return await self._open()
        except (TimeoutError, gaierror, ssl.SSLCertVerificationError):
            raise
        except OSError:
            return await self._open()

    async def _open(self) -> VendorConnection:
        assert self._loop is not None
        host, port = self.origin.host, self.origin.port
        if self._ssl_context is None:
            _, connection = await self._loop.create_connection(self._make, host, port)
        else:
            _, connection = await self._loop.create_connection(
                self._make,
                host,
                port,
                ssl=self._ssl_context,
                server_hostname=host,
                ssl_handshake_timeout=self.limits.connect_timeout_seconds + 1,
            )
        return connection

    def _make(self) -> VendorConnection:
        return VendorConnection(self)

    # Time

    def _fail_soon(self, call: VendorCall, reason: FailureReason) -> None:
        assert self._loop is not None
        self._loop.call_soon(call.fail, reason)

    def _wake(self) -> None:
        """Starts the sweep. It stops by itself when there is nothing left to watch."""
        loop = self._loop = asyncio.get_running_loop()
        self._now = loop.time()
        if not self._closed:
            self._timer = loop.call_later(self._tick, self._sweep)

    def _sweep(self) -> None:
        assert self._loop is not None
        now = self._now = self._loop.time()
        for connection in list(self._connections):
            connection.sweep(now)
        for call in [call for call in self._waiting if now >= call.deadline]:
            self._waiting.remove(call)
            call.fail("wait_timeout")
        if self._connections or self._dialing or self._waiting:
            self._timer = self._loop.call_later(self._tick, self._sweep)
        else:
            self._timer = None
