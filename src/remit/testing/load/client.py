"""A light HTTP/1.1 client for load: many connections, no retries, latencies from the instant a request was due."""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import httptools

MAX_KEPT_BODY = 65_536
_STREAM_END = b"data: [DONE]"


@dataclass(slots=True)
class Answer:
    """How one call ended. Durations are seconds since it was due; `headers` include trailers.

    `lag_seconds` is how late the request was written. `status` is None where no response head came. `broken` says why the response is not whole, None where it is. The body
    is kept for anything but 200, up to 64 KiB. `events` counts events of a stream, `ended` tells that the stream said it
    was complete.
    """

    status: int | None = None
    reason: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    broken: str | None = None
    lag_seconds: float = 0.0
    first_byte_seconds: float | None = None
    total_seconds: float = 0.0
    body_bytes: int = 0
    events: int = 0
    ended: bool = False

    def header(self, name: str) -> str | None:
        """The first header or trailer of that lower-case name."""
        return next((value for key, value in self.headers if key == name), None)


@dataclass(slots=True)
class Call:
    """One request: its bytes on the wire, the instant it was due, and who takes the answer."""

    message: bytes
    due: float
    done: Callable[[Answer], None]


class LoadClient:
    """Calls to one server. Create, use and close it within one event loop.

    `max_connections` bounds open connections and `max_waiting` the calls that wait for one; a call beyond both is
    answered as broken at once. Waiting counts as lag and is part of every latency.
    """

    def __init__(self, url: str, *, max_connections: int = 1000, max_waiting: int = 5000) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise ValueError(f"`{url}` is not an http or https URL")
        self.host = parts.hostname
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self.authority = parts.netloc.rpartition("@")[2]
        self.base_path = parts.path.rstrip("/")
        self.inflight = 0
        self.most_inflight = 0
        self._ssl = ssl.create_default_context() if parts.scheme == "https" else None
        self._max_connections = max_connections
        self._max_waiting = max_waiting
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._waiting: deque[Call] = deque()
        self._quiet = asyncio.Event()
        self._quiet.set()

    def head(self, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        """The bytes of a POST to a path below the base URL, body included."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = (
            f"POST {self.base_path}{path} HTTP/1.1\r\nhost: {self.authority}\r\n{lines}"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def send(self, call: Call) -> None:
        """Writes a call on a free connection, or on a new one; never blocks."""
        self.inflight += 1
        self.most_inflight = max(self.most_inflight, self.inflight)
        self._quiet.clear()
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                connection.start(call)
                return
        if len(self._waiting) >= self._max_waiting:
            self._finish(call, Answer(broken="the generator has no room for more waiting calls"))
            return
        self._waiting.append(call)
        self._connect_if_wanted()

    async def warm(self, connections: int) -> None:
        """Opens idle connections beforehand, so that the first calls do not pay for them. Raises OSError."""
        for _ in range(connections):
            self._idle.append(await self._connect())

    async def wait_quiet(self, timeout_seconds: float) -> bool:
        """Waits until every call is answered; False where that takes longer."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._quiet.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Closes all connections; calls under way end as broken."""
        while self._waiting:
            self._finish(self._waiting.popleft(), Answer(broken="closed before it was sent"))
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for connection in list(self._open):
            connection.abort()
        await asyncio.sleep(0)

    def _connect_if_wanted(self) -> None:
        if len(self._connecting) >= len(self._waiting):
            return
        if len(self._open) + len(self._connecting) >= self._max_connections:
            return
        task = asyncio.get_running_loop().create_task(self._connect_for_waiting())
        self._connecting.add(task)
        task.add_done_callback(self._no_longer_connecting)

    def _no_longer_connecting(self, task: asyncio.Task[None]) -> None:
        # A call that came since the connection was there counted on it, and another one has it.
        self._connecting.discard(task)
        self._connect_if_wanted()

    async def _connect_for_waiting(self) -> None:
        try:
            connection = await self._connect()
        except OSError as error:
            if self._waiting:
                self._finish(self._waiting.popleft(), Answer(broken=f"cannot connect: {error}"))
            return
        self.release(connection)

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: _Connection(self), self.host, self.port, ssl=self._ssl)
        self._open.add(connection)
        return connection

    def release(self, connection: "_Connection") -> None:
        """A connection is free: it takes the call that has waited longest."""
        if self._waiting:
            connection.start(self._waiting.popleft())
        else:
            self._idle.append(connection)

    def gone(self, connection: "_Connection") -> None:
        """A connection was lost."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._waiting:
            self._connect_if_wanted()

    def _finish(self, call: Call, answer: Answer) -> None:
        answer.total_seconds = answer.lag_seconds = asyncio.get_running_loop().time() - call.due
        self.finished(call, answer)

    def finished(self, call: Call, answer: Answer) -> None:
        """A call has ended."""
        self.inflight -= 1
        if self.inflight == 0:
            self._quiet.set()
        call.done(answer)


class _Connection(asyncio.Protocol):
    """One connection, one call at a time. The `on_...` methods are httptools' callbacks."""

    def __init__(self, client: LoadClient) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._call: Call | None = None
        self._answer = Answer()
        self._parser: Any = None
        self._tail = b""

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def start(self, call: Call) -> None:
        assert self._call is None and self._transport is not None
        self._call, self._answer, self._tail = call, Answer(), b""
        self._parser = httptools.HttpResponseParser(self)
        self._answer.lag_seconds = self._loop.time() - call.due
        self._transport.write(call.message)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports are not instances of it

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._end(f"the connection was lost: {exc or 'closed by the server'}")
        self._client.gone(self)

    def data_received(self, data: bytes) -> None:
        if self._call is None:
            self.abort()
            return
        if self._answer.first_byte_seconds is None:
            self._answer.first_byte_seconds = self._loop.time() - self._call.due
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._end(f"the answer is not HTTP: {error}")
            self.abort()

    def on_status(self, status: bytes) -> None:
        self._answer.reason += status.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        answer = self._answer
        answer.body_bytes += len(body)
        if answer.status != 200:
            answer.body = (answer.body + body)[:MAX_KEPT_BODY]
            return
        # An event ends with an empty line, which two reads may share.
        recent = self._tail + body
        answer.events += recent.count(b"\n\n") - self._tail.count(b"\n\n")
        self._tail = recent[-len(_STREAM_END) - 2 :]

    def on_message_complete(self) -> None:
        self._answer.ended = _STREAM_END in self._tail
        keep = self._parser.should_keep_alive()
        self._end(None)
        if keep and self.usable:
            self._client.release(self)
        else:
            self.abort()

    def _end(self, broken: str | None) -> None:
        call, self._call = self._call, None
        if call is None:
            return
        self._answer.broken = broken
        self._answer.total_seconds = self._loop.time() - call.due
        self._client.finished(call, self._answer)
