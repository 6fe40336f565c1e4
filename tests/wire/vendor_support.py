"""A scripted vendor on raw TCP and a sink that remembers."""

import asyncio
import dataclasses
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from remit.gateway.wire import Headers, Origin, VendorLimits, VendorPool, render_request
from tests.wire.support import until

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

REQUEST = render_request(b"POST", b"/v1/x", [(b"host", b"vendor.example")], b"hello")
LIMITS = VendorLimits(
    connect_timeout_seconds=30,
    first_byte_timeout_seconds=30,
    read_idle_timeout_seconds=30,
    write_timeout_seconds=30,
    wait_timeout_seconds=30,
    idle_seconds=30,
    max_connections=4,
    max_waiting=4,
    max_idle=2,
    max_head_bytes=2048,
    max_headers=20,
    max_body_bytes=5000,
)


def limited(**limits: float) -> VendorLimits:
    """The same but for these, given without their `_seconds`."""
    return dataclasses.replace(LIMITS, **{f"{name}_seconds": seconds for name, seconds in limits.items()})  # type: ignore[arg-type]


class Sink:
    """Remembers one response and fails on a second terminal callback."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self.body = b""
        self.pieces = 0
        self.ends: list[tuple[str, bool, bool]] = []
        self.ended = asyncio.Event()

    def on_head(self, status: int, headers: Headers) -> None:
        """Remembers."""
        assert not self.ends and not self.status
        self.status = status
        self.headers = headers

    def on_body(self, data: bytes) -> None:
        """Remembers."""
        assert not self.ends and self.status and data
        self.body += data
        self.pieces += 1

    def on_complete(self) -> None:
        """Remembers."""
        self.ends.append(("complete", True, True))
        self.ended.set()

    def on_failure(self, reason: str, sent: bool, head_received: bool) -> None:
        """Remembers."""
        self.ends.append((reason, sent, head_received))
        self.ended.set()

    async def end(self) -> tuple[str, bool, bool]:
        """The one terminal callback; a little later it is still the only one."""
        await asyncio.wait_for(self.ended.wait(), 50)
        await asyncio.sleep(0.02)
        assert len(self.ends) == 1
        return self.ends[0]


class Vendor:
    """What the scripted server saw."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections = 0
        self.requests = 0


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Reads one request with a content-length; b"" at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


@asynccontextmanager
async def vendor(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Vendor]:
    """Runs the script on each connection, then closes it."""
    tasks: set[asyncio.Task[None]] = set()
    seen = Vendor(0)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        seen.connections += 1
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):  # the test is over
            pass
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    seen.port = server.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)


def answering(*parts: bytes, pause_seconds: float = 0.0) -> Script:
    """A script that reads one request, writes the parts and closes."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_seconds)

    return script


def keeping(response: bytes) -> Script:
    """A script that answers each request on a connection."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_request(reader):
            writer.write(response)

    return script


@asynccontextmanager
async def pooling(
    port: int, limits: VendorLimits = LIMITS, context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[VendorPool]:
    """A pool that is closed at the end."""
    pool = VendorPool(Origin("http" if context is None else "https", host, port), context, limits)
    try:
        yield pool
    finally:
        pool.close()
        await until(lambda: pool.open_connections == 0)
