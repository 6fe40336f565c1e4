"""A server in a thread: what it was asked, and how it misbehaves."""

import json
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request. Names of headers are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to one request instead of, or `after` it was carried out."""

    status: int | None = None
    retry_after: str | None = None
    delay_seconds: float = 0.0
    drops: bool = False
    answer_bytes: int | None = None
    after: bool = False


@dataclass(frozen=True, slots=True)
class PeerReply:
    """Status and JSON, or bytes that are JSON already."""

    status: int = 200
    body: Any = field(default_factory=dict)


class Peer(AbstractContextManager["Peer"]):
    """Runs while its block does. `answer` is what a kind of peer is."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.faults: deque[Fault] = deque()
        self._lock = threading.Lock()
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers.get("content-length", "0")))
                peer._handle(self, Asked(method=self.command, path=self.path, headers=headers, body=body))

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any  # noqa: N815 - the base class names them

            def log_message(self, *_: Any) -> None:
                """Says nothing: the tests read `asked`."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, asked: Asked) -> PeerReply:
        """What this peer answers. Called by one thread at a time."""
        raise NotImplementedError

    def _handle(self, handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        with self._lock:
            self.asked.append(asked)
            fault = self.faults.popleft() if self.faults else None
            reply = self.answer(asked) if fault is None or fault.after else PeerReply()
        if fault is not None:
            time.sleep(fault.delay_seconds)
            if fault.drops:
                handler.close_connection = True
                return
        status = fault.status if fault is not None and fault.status is not None else reply.status
        whole = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        content = b"" if status == 204 else whole
        if fault is not None and fault.answer_bytes is not None:
            content = b" " * fault.answer_bytes
        try:
            handler.send_response(status)
            handler.send_header("content-type", "application/json")
            handler.send_header("content-length", str(len(content)))
            if fault is not None and fault.retry_after is not None:
                handler.send_header("retry-after", fault.retry_after)
            if status in (301, 302, 307, 308):
                handler.send_header("location", f"{self.url}/elsewhere")
            handler.end_headers()
            handler.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):
            handler.close_connection = True  # the caller waited no longer, which is what a delay is for
