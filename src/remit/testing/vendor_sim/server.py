"""The vendor itself: listens, routes requests to calls or the admin surface, and owns books, script and prices."""

import asyncio
import hmac
import random
import secrets
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from remit.kernel.clock import Clock, SystemClock
from remit.testing.vendor_sim import admin, wire
from remit.testing.vendor_sim.books import Books, BooksSummary
from remit.testing.vendor_sim.call import Call
from remit.testing.vendor_sim.connection import Connection, Request
from remit.testing.vendor_sim.generation import Generation, Refusal, plan, read_request
from remit.testing.vendor_sim.prices import PriceList
from remit.testing.vendor_sim.script import Script, ScriptReader, merged

_BACKLOG: Final = 4_096
_MAX_COUNTED_FAULTS: Final = 100_000
_MAX_KEPT_BODY_BYTES: Final = 2_048
_MAX_KEPT_PLANS: Final = 1_024
_MODELS_PATH: Final = b"/v1/models"
_MODEL_CREATED: Final = 1_700_000_000


class VendorSim:
    """A vendor with OpenAI's wire format inside this event loop.

    `async with VendorSim(seed=1) as vendor:` listens on loopback, on a free port unless one is given; `vendor.url` is
    its root and `vendor.base_url` what an SDK takes. With `api_key` calls need it as their bearer token. `seed` fixes
    request ids and every random choice. `clock` stamps the books; pauses are real time.

    Work that runs at `reset()` or at the end is billed to the old books, or not at all: ask `wait_idle()` first.
    """

    def __init__(
        self,
        *,
        prices: PriceList | None = None,
        seed: int | None = None,
        clock: Clock | None = None,
        api_key: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.prices = prices or PriceList.default()
        self.clock: Clock = clock or SystemClock()
        self.scripts = ScriptReader()
        self.books = Books()
        self.connections: set[Connection] = set()
        self.inflight: set[Call] = set()
        self.random = random.Random(seed)  # noqa: S311 - behaviour to be repeated, not a secret
        self._run = (secrets.token_hex(4) if seed is None else f"{self.random.getrandbits(32):08x}").encode()
        self._request_count = 0
        self._fault_uses: dict[str, int] = {}
        self._plans: dict[bytes, Generation] = {}
        self._authorization = None if api_key is None else f"Bearer {api_key}"
        self._address = (host, port)
        self._server: asyncio.Server | None = None

    # life

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        self.loop = asyncio.get_running_loop()
        host, port = self._address
        self._server = await self.loop.create_server(lambda: Connection(self), host, port, backlog=_BACKLOG)
        self._address = self._server.sockets[0].getsockname()[:2]

    async def stop(self) -> None:
        """Stop listening, cut every connection, forget running calls."""
        if self._server is None:
            return
        self._server.close()
        for call in list(self.inflight):
            call.cancel()
            call.connection.call = None
        for connection in list(self.connections):
            connection.transport.abort()
        await self._server.wait_closed()
        self._server = None
        await asyncio.sleep(0)  # let the connections hear that they are lost

    @property
    def url(self) -> str:
        host, port = self._address
        return f"http://{host}:{port}"

    @property
    def base_url(self) -> str:
        """What an OpenAI SDK takes as its `base_url`."""
        return f"{self.url}/v1"

    # control

    def script(self, **keys: Any) -> Script:
        """Set the default behaviour: all of it, keys that are not named go back to their own defaults.

        Raises InvalidScriptError.
        """
        script = merged(Script(), keys)
        self.scripts.set_default(script)
        self._fault_uses.clear()
        self._plans.clear()
        return script

    def reset(self) -> None:
        """Begin again: empty books, the default script, request numbers go on."""
        self.books = Books()
        self.script()

    def release(self) -> int:
        """Let every call go on that waits out its latency or pauses in its stream; how many those were."""
        return sum(call.release() for call in list(self.inflight))

    def summary(self) -> BooksSummary:
        return self.books.summary(len(self.inflight))

    async def wait_idle(self, timeout_seconds: float = 60) -> None:
        """Wait until no call is running; raises TimeoutError."""
        async with asyncio.timeout(timeout_seconds):
            while self.inflight:  # noqa: ASYNC110 - a call need not tell anyone that it ended; tests may look
                await asyncio.sleep(0.005)

    # what connections and calls ask for

    def serve(self, connection: Connection, request: Request) -> None:
        """Answer one request, now or later."""
        try:
            if request.target == b"/v1/chat/completions":
                if request.method != b"POST":
                    raise Refusal(405, "Not allowed. Only POST is accepted here.")
                self._chat(connection, request)
                return
            if request.target.startswith(b"/sim/"):
                content_type, body = admin.answer(self, request)
            else:
                content_type, body = wire.JSON_TYPE, self._models(request)
            connection.answer(wire.head(200, content_type, len(body), self.new_request_id()) + body)
        except Refusal as refusal:
            body = wire.error_body(refusal)
            head = wire.head(refusal.status, wire.JSON_TYPE, len(body), self.new_request_id())
            connection.answer(head + body)

    def new_request_id(self) -> bytes:
        """Letters and digits, unique within this vendor; `chatcmpl-` and `req_` are put before it."""
        self._request_count += 1
        return b"%s%016d" % (self._run, self._request_count)

    def latency_seconds(self, script: Script) -> float:
        """The pause before the head."""
        if script.latency_max_ms is None:
            return script.latency_ms / 1000
        return self.random.uniform(script.latency_ms, max(script.latency_ms, script.latency_max_ms)) / 1000

    def meets_fault(self, work: Generation) -> bool:
        """Whether this call meets the fault of its script: the first so many do, and then a share by chance."""
        script = work.script
        if script.first is not None:
            uses = self._fault_uses.get(work.script_line, 0)
            if uses >= script.first:
                return False
            if len(self._fault_uses) >= _MAX_COUNTED_FAULTS:
                self._fault_uses.clear()
            self._fault_uses[work.script_line] = uses + 1
        return script.fault_permille >= 1000 or self.random.randrange(1000) < script.fault_permille

    def _chat(self, connection: Connection, request: Request) -> None:
        self.books.requests += 1
        self._authenticate(request)
        body = request.body
        work = self._plans.get(body)
        if work is None:
            work = plan(read_request(body), self.prices, self.scripts)
            # Load tests repeat themselves; a body decides all of the work, so it need not be read twice.
            if len(body) <= _MAX_KEPT_BODY_BYTES:
                if len(self._plans) >= _MAX_KEPT_PLANS:
                    self._plans.clear()
                self._plans[body] = work
        Call(self, connection, request, work).start()

    def _models(self, request: Request) -> bytes:
        if not (request.target == _MODELS_PATH or request.target.startswith(_MODELS_PATH + b"/")):
            raise Refusal(404, f"Invalid URL ({request.method.decode('latin-1')} {request.target.decode('latin-1')})")
        if request.method != b"GET":
            raise Refusal(405, "Not allowed. Only GET is accepted here.")
        self._authenticate(request)
        name = request.target[len(_MODELS_PATH) + 1 :].decode("latin-1")
        if not name:
            return msgspec.json.encode({"object": "list", "data": [_model(model) for model in self.prices.models]})
        if name not in self.prices.models:
            raise Refusal(404, f"The model '{name}' does not exist", param="model", code="model_not_found")
        return msgspec.json.encode(_model(name))

    def _authenticate(self, request: Request) -> None:
        if self._authorization is None:
            return
        given = request.header(b"authorization") or ""
        if not hmac.compare_digest(given.encode(), self._authorization.encode()):
            raise Refusal(401, "Incorrect API key provided.", code="invalid_api_key")


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _MODEL_CREATED, "owned_by": "remit-sim"}
