"""The page that Prometheus reads, and what a gateway counts for it. Needs the package `prometheus_client`.

Prometheus keeps numbers as floats of 64 bits: exact up to nine million dollars in nano-USD. They are for looking; the books are the ledger.
"""

import hmac
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import structlog

from remit.notify.calls import is_loopback
from remit.settings import SettingsError, parse_listen
from remit.telemetry.call import Call
from remit.telemetry.otlp import SECOND_BOUNDS

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_log = structlog.get_logger(__name__)
_TIMEOUT_SECONDS = 10.0
_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def new_registry() -> "CollectorRegistry":
    """An empty one. Raises SettingsError where the package is missing."""
    try:
        from prometheus_client import CollectorRegistry  # noqa: PLC0415 - not everybody's
    except ImportError:
        raise SettingsError("`metrics` needs the package `prometheus_client`: install `remit[metrics]`") from None
    return CollectorRegistry(auto_describe=False)


def require_private(listen: str, token: bytes | None) -> tuple[str, int]:
    """Host and port of an address that only this machine reaches, or where a token is asked for. Raises SettingsError."""
    host, port = parse_listen(listen)
    if token is None and not is_loopback(host):
        raise SettingsError(
            "`metrics`: beyond this machine they are shown to who has the token: `token_env` or `token_file`"
        )
    return host, port


class CallCounters:
    """Counts calls of one gateway process. Labels are vendors, classes and codes, of which there are few."""

    def __init__(self, registry: "CollectorRegistry", *, grant_paths: bool) -> None:
        from prometheus_client import Counter, Histogram  # noqa: PLC0415 - as above

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"remit_gateway_{name}", what, labels, registry=registry)

        self._requests = counter("requests", "Requests by how they ended.", "outcome", "code", "vendor", "class")
        self._spend = counter("spend_nanousd", "What calls cost, in nano-USD.", "vendor", "class", "outcome")
        self._tokens = counter("tokens", "Tokens of calls whose usage is known.", "vendor", "class", "type")
        names = ("vendor", "outcome")
        self._seconds = Histogram(
            "remit_gateway_seconds", "How long requests took.", names, buckets=SECOND_BOUNDS, registry=registry
        )
        self._grants = counter("grant_spend_nanousd", "What calls cost, in nano-USD.", "grant") if grant_paths else None

    def count(self, call: Call) -> None:
        """Counts one."""
        vendor, grant_class = call.vendor or "", call.grant_class or ""
        self._requests.labels(call.outcome, call.refusal or "", vendor, grant_class).inc()
        self._seconds.labels(vendor, call.outcome).observe(call.seconds)
        if call.cost_nanousd:
            self._spend.labels(vendor, grant_class, call.outcome).inc(call.cost_nanousd)
            if self._grants is not None:
                self._grants.labels(call.path or "").inc(call.cost_nanousd)
        if call.usage is not None:
            self._tokens.labels(vendor, grant_class, "input").inc(call.usage.total_input_tokens)
            self._tokens.labels(vendor, grant_class, "output").inc(call.usage.total_output_tokens)


def add_gauge(registry: "CollectorRegistry", name: str, what: str, read: Callable[[], float]) -> None:
    """A number that is asked for when somebody looks."""
    from prometheus_client import Gauge  # noqa: PLC0415 - as above

    Gauge(name, what, registry=registry).set_function(read)


class MetricsServer:
    """Binds at once and answers `GET /metrics` from `start` to `stop`, in threads of its own.

    Raises SettingsError for an address beyond this machine without a token, OSError for one that is taken.
    """

    def __init__(self, listen: str, registry: "CollectorRegistry", token: bytes | None, *, number: int = 0) -> None:
        host, port = require_private(listen, token)
        self._registry = registry
        self._token = token
        server = self

        class Handler(BaseHTTPRequestHandler):
            timeout = _TIMEOUT_SECONDS

            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *_: Any) -> None:
                """Says nothing: whoever looks every few seconds is no news."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

            def handle_error(self, *_: Any) -> None:
                """Whoever hangs up is no news either."""

        self._server = Server((host, port + number if port else 0), Handler)
        self.host, self.port = host, int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.5,), name="metrics", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the listener; what is being answered is left behind."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """The page, or why not."""
        if handler.path.partition("?")[0] != "/metrics":
            return _send(handler, 404, b"not found\n")
        shown = handler.headers.get("authorization", "").encode("latin-1", "replace")
        if self._token is not None and not hmac.compare_digest(shown, b"Bearer " + self._token):
            return _send(handler, 401, b"a token is asked for\n", ("www-authenticate", "Bearer"))
        from prometheus_client import generate_latest  # noqa: PLC0415 - as above

        try:
            page = generate_latest(self._registry)
        except Exception:  # noqa: BLE001 - logged; whoever looks is told, and looks again
            _log.exception("metrics_failed")
            return _send(handler, 503, b"the numbers cannot be read now\n")
        return _send(handler, 200, page)


def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes, *more: tuple[str, str]) -> None:
    handler.send_response(status)
    for name, value in (("content-type", _TYPE), ("content-length", str(len(body))), *more):
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)
