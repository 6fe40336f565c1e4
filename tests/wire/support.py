"""What the wire tests share: a loop, a server with an echoing handler, raw sockets, a transport that records."""

import asyncio
import dataclasses
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import uvloop

from remit.gateway.wire import CallerServer, Exchange, WireLimits

LIMITS = WireLimits(
    max_head_bytes=2048,
    max_headers=20,
    max_target_bytes=512,
    max_body_bytes=5000,
    head_timeout_seconds=30,
    body_timeout_seconds=30,
    idle_timeout_seconds=30,
    write_timeout_seconds=30,
    linger_seconds=2,
    max_connections=50,
    max_pipelined_bytes=2048,
)


def limited(**limits: float) -> WireLimits:
    """The same but for these, given without their `_seconds`."""
    return dataclasses.replace(LIMITS, **{f"{name}_seconds": seconds for name, seconds in limits.items()})  # type: ignore[arg-type]


def run(work: Coroutine[Any, Any, None]) -> None:
    """Runs on uvloop, as the gateway does; an error reported to the loop fails the test."""
    reported: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        await asyncio.wait_for(work, 60)
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(watched())
    assert reported == [], reported


async def until(condition: Callable[[], bool]) -> None:
    """Waits until it is true, at most fifty seconds."""
    async with asyncio.timeout(50):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


def echo(exchange: Exchange) -> None:
    """Answers with what was understood."""
    exchange.respond(200, [(b"x-method", exchange.method), (b"x-target", exchange.target)], exchange.body)


@asynccontextmanager
async def serving(
    handler: Callable[[Exchange], None] = echo, limits: WireLimits = LIMITS, **options: Any
) -> AsyncIterator[tuple[CallerServer, int]]:
    """A server on loopback and its port."""
    server = CallerServer(handler, limits)
    port = await server.start("127.0.0.1", 0, **options)
    try:
        yield server, port
    finally:
        server.close()
        await until(lambda: server.connections == 0)


class Held:
    """A handler that keeps its exchanges for the test to answer, and what happened to them."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.events: list[str] = []
        self.arrived = asyncio.Event()

    def __call__(self, exchange: Exchange) -> None:
        """Keeps it."""
        exchange.on_gone = lambda: self.events.append("gone")
        exchange.on_pause = lambda: self.events.append("pause")
        exchange.on_resume = lambda: self.events.append("resume")
        self.exchanges.append(exchange)
        self.arrived.set()

    async def next(self) -> Exchange:
        """The exchange that came, or comes, next."""
        await asyncio.wait_for(self.arrived.wait(), 50)
        self.arrived.clear()
        return self.exchanges[-1]


class Answer:
    """One response read from a socket."""

    def __init__(self, status: int, headers: dict[bytes, bytes], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class Caller:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        """Writes bytes as they are."""
        self.writer.write(data)

    async def answer(self, to_head: bool = False) -> Answer:
        """Reads one response; asyncio.IncompleteReadError if it is cut."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 50)
        lines = head[:-4].split(b"\r\n")
        match = re.fullmatch(rb"HTTP/1\.1 (\d{3}) .*", lines[0])
        assert match is not None
        headers = dict(line.lower().split(b": ", 1) for line in lines[1:])
        status = int(match[1])
        if headers.get(b"transfer-encoding") == b"chunked" and not to_head:
            body = b""
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readexactly(2)
        elif to_head or status in (100, 204, 304):
            body = b""
        else:
            body = await self.reader.readexactly(int(headers[b"content-length"]))
        return Answer(status, headers, body)

    async def closed(self, within_seconds: float = 50) -> bool:
        """Whether the server closes without another byte."""
        try:
            return await asyncio.wait_for(self.reader.read(1), within_seconds) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def reset(self) -> None:
        """Closes at once."""
        self.writer.transport.abort()


@asynccontextmanager
async def calling(port: int, **options: Any) -> AsyncIterator[Caller]:
    """A raw connection to loopback."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24, **options)
    try:
        yield Caller(reader, writer)
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


class Tape(asyncio.Transport):
    """A transport that only records: for feeding a protocol exact cuts, which a socket would join again."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False
        self.reading = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The peer's address, nothing else."""
        return ("192.0.2.1", 4711) if name == "peername" else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Records."""
        assert not self.closed
        self.written += data

    def get_write_buffer_size(self) -> int:
        """Everything is recorded at once."""
        return 0

    def can_write_eof(self) -> bool:
        """As a TCP transport."""
        return True

    def write_eof(self) -> None:
        """Nothing to record: lingering ends by its deadline."""

    def is_closing(self) -> bool:
        """After close or abort."""
        return self.closed

    def close(self) -> None:
        """Records."""
        self.closed = True

    def abort(self) -> None:
        """Records."""
        self.closed = True

    def pause_reading(self) -> None:
        """Records."""
        self.reading = False

    def resume_reading(self) -> None:
        """Records."""
        self.reading = True
