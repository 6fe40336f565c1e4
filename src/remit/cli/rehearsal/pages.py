"""A receiver of pages: a small webhook on loopback that remembers what it was sent."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import msgspec

_MAX_KEPT = 500
_MAX_BYTES = 65_536


class PageReceiver:
    """Listens from creation to `stop()`. `pages` holds the first bodies, `count` how many came."""

    def __init__(self) -> None:
        self.pages: list[dict[str, Any]] = []
        self.count = 0
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = min(int(self.headers.get("content-length") or 0), _MAX_BYTES)
                receiver._take(self.rfile.read(length))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name it overrides
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/pages"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the receiver."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _take(self, body: bytes) -> None:
        try:
            page = msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.MsgspecError:
            return
        with self._lock:
            self.count += 1
            if len(self.pages) < _MAX_KEPT:
                self.pages.append(page)
