"""What the cases share: raw HTTP callers, a tap on the way to the vendor, a receiver of pages."""

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from tests.system.harness import System

HELLO: Any = [{"role": "user", "content": "hello"}]
DIME = 100_000_000
DOLLAR = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """One response as it came over the wire; header and trailer names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    trailers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def remit(self) -> dict[str, Any]:
        """The `remit` object of a refusal."""
        remit: dict[str, Any] = self.json["error"]["remit"]
        return remit

    @property
    def code(self) -> str:
        """The refusal's code, or `served`."""
        return "served" if self.status == 200 else str(self.json["error"]["code"])


def dime(tokens: int = 1, **more: Any) -> dict[str, Any]:
    """A call that costs exactly $0.10 for each token."""
    return {"model": "sim-dime", "messages": HELLO, "max_tokens": tokens, **more}


def user(text: str) -> Any:
    """Messages with one text of the user's."""
    return [{"role": "user", "content": text}]


def events(answer: Answer) -> list[Any]:
    """The events of a stream, the last one (`[DONE]`) as it came."""
    texts = [line.removeprefix(b"data: ") for line in answer.body.split(b"\n") if line.startswith(b"data: ")]
    return [text.decode() if text == b"[DONE]" else json.loads(text) for text in texts]


def ask(
    system: System,
    key: str | None,
    body: Any = None,
    *,
    method: str = "POST",
    path: str = "/v1/chat/completions",
    headers: Mapping[str, str] | None = None,
    port: int | None = None,
) -> Answer:
    """One request over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port or system.port, timeout=60)
    sent = {"content-type": "application/json", **(headers or {})}
    if key is not None:
        sent["authorization"] = f"Bearer {key}"
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    try:
        connection.request(method, path, data, sent)
        # Closed also where its end never comes: after a head that says `close` the connection has forgotten it.
        with connection.getresponse() as response:
            got = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, got, response.read(), {})
    finally:
        connection.close()


def ask_many(count: int, call: Callable[[int], Answer], *, at_once: int = 50) -> list[Answer]:
    """Many requests at once, each with its number."""
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(call, range(count)))


def codes(answers: list[Answer]) -> dict[str, int]:
    """How often each code was answered."""
    counted: dict[str, int] = {}
    for answer in answers:
        counted[answer.code] = counted.get(answer.code, 0) + 1
    return counted


def raw_request(key: str, body: Mapping[str, Any]) -> bytes:
    """A chat request as bytes."""
    data = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {len(data)}\r\n"
    return head.encode() + b"te: trailers\r\nconnection: close\r\n\r\n" + data


def open_stream(system: System, key: str, body: Mapping[str, Any]) -> socket.socket:
    """A connection on which a chat request was sent; nothing is read yet."""
    caller = socket.create_connection(("127.0.0.1", system.port), timeout=60)
    try:
        caller.sendall(raw_request(key, {"stream": True, **body}))
    except OSError:
        caller.close()
        raise
    return caller


def read_raw(caller: socket.socket) -> Answer:
    """Everything a connection has to say until it ends, its trailers included."""
    data = b""
    with caller:
        while piece := caller.recv(65536):
            data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = _fields(lines[1:])
    status = int(lines[0].split()[1])
    if headers.get("transfer-encoding") != "chunked":
        return Answer(status, headers, rest, {})
    body, trailers = _unchunk(rest)
    return Answer(status, headers, body, trailers)


def _fields(lines: list[str]) -> dict[str, str]:
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}


def _unchunk(data: bytes) -> tuple[bytes, dict[str, str]]:
    """The body, and the trailers behind it; an unfinished body has none."""
    body = b""
    while data:
        size_text, _, data = data.partition(b"\r\n")
        size = int(size_text, 16)
        if size == 0:
            return body, _fields(data.decode().split("\r\n"))
        body, data = body + data[:size], data[size + 2 :]
    return body, {}


class Tap(AbstractContextManager["Tap"]):
    """A port on the way to a server that passes everything on and remembers what went each way.

    `refuse()` closes the port, as a vendor that is down.
    """

    def __init__(self, url: str) -> None:
        self._target = ("127.0.0.1", int(url.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.sent = b""
        self.received = b""
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        for thread in self._threads:
            thread.join()

    def refuse(self) -> None:
        """From now on nobody listens here, and nobody who was connected is any more."""
        _end(self._listener)
        self._listener.close()
        for connection in self._open:
            _end(connection)

    def _accept(self) -> None:
        while True:
            try:
                gateway, _ = self._listener.accept()
            except OSError:
                return
            vendor = socket.create_connection(self._target)
            self._open += [gateway, vendor]
            for pair in ((gateway, vendor, True), (vendor, gateway, False)):
                self._threads.append(threading.Thread(target=self._pass_on, args=pair, daemon=True))
                self._threads[-1].start()

    def _pass_on(self, source: socket.socket, target: socket.socket, to_vendor: bool) -> None:
        with source:
            with suppress(OSError):
                while data := source.recv(65536):
                    if to_vendor:
                        self.sent += data
                    else:
                        self.received += data
                    target.sendall(data)
            _end(target)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def receiver_of_pages() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A webhook's URL and what was posted to it."""
    pages: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            pages.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/pages", pages
    finally:
        server.shutdown()
        server.server_close()
