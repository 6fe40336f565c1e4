"""The listening side: counts connections, keeps their deadlines, drains."""

import asyncio
import socket
import ssl as tls
from collections.abc import Callable
from typing import Final

from remit.gateway.wire.caller import CallerConnection
from remit.gateway.wire.exchange import Exchange
from remit.gateway.wire.head import Headers
from remit.gateway.wire.limits import WireLimits

_EXTRA_CONNECTIONS: Final = 64


def plain_refusal(status: int, reason: str) -> tuple[Headers, bytes]:
    """The body of a refusal when nothing better was injected."""
    return [(b"content-type", b"text/plain; charset=utf-8")], f"{status} {reason}\n".encode()


class CallerServer:
    """Serves callers on any number of sockets in one event loop.

    `handler` is called with each whole request and answers it there or later. `malformed(status, reason)` renders what
    the wire refuses by itself; it must not raise.
    """

    def __init__(
        self,
        handler: Callable[[Exchange], None],
        limits: WireLimits,
        malformed: Callable[[int, str], tuple[Headers, bytes]] = plain_refusal,
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.malformed = malformed
        self.draining = False
        self.unread_bytes = 0
        self._connections: set[CallerConnection] = set()
        self._servers: list[asyncio.Server] = []
        self._empty: asyncio.Event | None = None
        self._now = 0.0
        self.idle_deadline = 0.0
        self._tick = limits.sweep_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(
        self,
        host: str | None = None,
        port: int = 0,
        *,
        sock: socket.socket | None = None,
        ssl: tls.SSLContext | None = None,
        backlog: int = 2048,
        reuse_port: bool = False,
    ) -> int:
        """Listens on host and port, or on a bound socket; returns the port (0 for a Unix socket). OSError if taken."""
        loop = self._loop = asyncio.get_running_loop()
        handshake = self.limits.head_timeout_seconds if ssl is not None else None
        if sock is not None:
            server = await loop.create_server(
                self._connect, sock=sock, ssl=ssl, backlog=backlog, ssl_handshake_timeout=handshake
            )
        else:
            server = await loop.create_server(
                self._connect,
                host,
                port,
                ssl=ssl,
                backlog=backlog,
                reuse_port=reuse_port,
                ssl_handshake_timeout=handshake,
            )
        self._servers.append(server)
        if self._timer is None:
            self._sweep()
        name = server.sockets[0].getsockname()
        return int(name[1]) if isinstance(name, tuple) else 0

    @property
    def connections(self) -> int:
        """How many connections are open, the lingering ones included."""
        return len(self._connections)

    def stop_accepting(self) -> None:
        """Closes the listening sockets; open connections go on."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def drain(self, timeout_seconds: float) -> bool:
        """Stops accepting, closes idle connections, lets running exchanges finish. True when all are gone in time.

        What is left after the timeout goes on until `close`.
        """
        self.stop_accepting()
        self.draining = True
        for connection in list(self._connections):
            connection.drain()
        if not self._connections:
            return True
        self._empty = asyncio.Event()
        try:
            await asyncio.wait_for(self._empty.wait(), timeout_seconds)
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Stops accepting and cuts every connection now; running exchanges are told that the caller is gone."""
        self.stop_accepting()
        self.draining = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in list(self._connections):
            connection.abort()

    # For connections

    def admit(self, connection: CallerConnection) -> bool | None:
        """True: serve it. False: refuse it politely. None: there are too many even for that."""
        count = len(self._connections)
        if count >= self.limits.max_connections + _EXTRA_CONNECTIONS:
            return None
        self._connections.add(connection)
        return count < self.limits.max_connections and not self.draining

    def forget(self, connection: CallerConnection) -> None:
        """A connection is closed."""
        self._connections.discard(connection)
        if not self._connections and self._empty is not None:
            self._empty.set()

    def deadline_in(self, seconds: float) -> float:
        """A deadline on the sweep's coarse clock: never early, late by two sweeps at most."""
        return self._now + self._tick + seconds

    def report(self, error: Exception) -> None:
        """Gives an error in injected code to the event loop's exception handler."""
        if self._loop is not None:
            self._loop.call_exception_handler({"message": "error in a wire callback", "exception": error})

    def _connect(self) -> CallerConnection:
        return CallerConnection(self)

    def _sweep(self) -> None:
        assert self._loop is not None
        now = self._now = self._loop.time()
        self.idle_deadline = self.deadline_in(self.limits.idle_timeout_seconds)
        for connection in list(self._connections):
            connection.sweep(now)
        self._timer = self._loop.call_later(self._tick, self._sweep)
