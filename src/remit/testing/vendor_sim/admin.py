"""The admin surface under `/sim/`: books, running calls, script, reset. Never part of what a vendor's caller sees."""

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec

from remit.testing.vendor_sim import wire
from remit.testing.vendor_sim.books import statement_csv
from remit.testing.vendor_sim.generation import Refusal
from remit.testing.vendor_sim.script import InvalidScriptError

if TYPE_CHECKING:
    from remit.testing.vendor_sim.connection import Request
    from remit.testing.vendor_sim.server import VendorSim

MAX_ROWS_PER_PAGE = 10_000
_CSV_TYPE = b"text/csv; charset=utf-8"


class RunningCall(msgspec.Struct, kw_only=True):
    """A call the vendor is still working on."""

    vendor_request_id: str
    model: str
    stream: bool
    steps_done: int
    paused: bool
    age_ms: int
    caller_connected: bool


def answer(sim: "VendorSim", request: "Request") -> tuple[bytes, bytes]:
    """Content type and body for a request to the admin surface; raises Refusal."""
    path, _, query = request.target.decode("latin-1").partition("?")
    match request.method, path:
        case b"GET", "/sim/books":
            return _json(sim.summary())
        case b"GET", "/sim/books.csv":
            return _CSV_TYPE, statement_csv(sim.books.rows).encode("utf-8", "replace")
        case b"GET", "/sim/books/rows":
            fields = dict(parse_qsl(query))
            limit = min(_whole(fields, "limit", MAX_ROWS_PER_PAGE), MAX_ROWS_PER_PAGE)
            return _json(sim.books.page(_whole(fields, "after", 0), limit))
        case b"GET", "/sim/inflight":
            paused = sum(call.is_paused() for call in sim.inflight)
            return _json({"inflight": len(sim.inflight), "paused": paused, "calls": _running(sim)})
        case b"GET", "/sim/prices":
            return _json(sim.prices.document)
        case b"GET", "/sim/script":
            return _json(sim.scripts.default)
        case b"POST", "/sim/script":
            return _set_script(sim, request.body)
        case b"POST", "/sim/release":
            return _json({"released": sim.release()})
        case b"POST", "/sim/reset":
            sim.reset()
            return _json({"reset": True})
        case _:
            raise Refusal(404, f"no such admin route: {request.method.decode('latin-1')} {path}")


def _running(sim: "VendorSim") -> list[RunningCall]:
    now = sim.clock.now()
    return [
        RunningCall(
            vendor_request_id=f"chatcmpl-{call.request_id.decode()}",
            model=call.work.prices.name,
            stream=call.work.stream,
            steps_done=call.steps_done,
            paused=call.is_paused(),
            age_ms=int((now - call.received_at).total_seconds() * 1000),
            caller_connected=not call.connection.closed,
        )
        for call in list(sim.inflight)[:MAX_ROWS_PER_PAGE]
    ]


def _set_script(sim: "VendorSim", body: bytes) -> tuple[bytes, bytes]:
    try:
        changes = msgspec.json.decode(body or b"{}", type=dict[str, Any])
        return _json(sim.script(**changes))
    except (msgspec.MsgspecError, InvalidScriptError, UnicodeError, RecursionError) as error:
        raise Refusal(400, f"sim script: {error}", code="sim_script_invalid") from None


def _whole(fields: dict[str, str], name: str, default: int) -> int:
    value = fields.get(name, str(default))
    if not (value.isascii() and value.isdigit() and len(value) < 16):
        raise Refusal(400, f"`{name}` is not a whole number", param=name)
    return int(value)


def _json(value: Any) -> tuple[bytes, bytes]:
    return wire.JSON_TYPE, msgspec.json.encode(value)
