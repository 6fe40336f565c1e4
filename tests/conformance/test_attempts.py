"""Attempts of one operation, races between writes of one key, and faults in the middle of a call."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from remit.capabilities.access_keys import parse_access_key
from remit.gateway.operations import Operations, attempt_of
from remit.gateway.wire.exchange import Exchange
from remit.gateway.wire.head import Headers
from tests.conformance.support import DIME, HELLO, ask, dime, open_stream, read_raw
from tests.system.harness import ADMIN, System, root

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def test_retries_of_the_official_sdk_are_one_operation(system: System, name: str) -> None:
    """Unmodified, it sends no idempotency key; its attempts are settled one by one and share an operation all the same."""
    system.apply({name: root("5.00")})
    system.vendor.script(error=500, billed=True, first=2)
    with system.client(system.key(name), max_retries=2) as client:
        client.chat.completions.create(model="sim-dime", messages=HELLO, max_tokens=3)
        client.chat.completions.create(model="sim-dime", messages=HELLO, max_tokens=3)
    entries = system.entries(name)
    assert [entry["kind"] for entry in entries] == ["suspense", "suspense", "usage", "usage"]
    assert [entry["attempt"] for entry in entries] == [1, 2, 3, 1]
    operations = [entry["operation_id"] for entry in entries]
    assert len(set(operations[:3])) == 1 and operations[3] != operations[0]
    system.reconcile_with_vendor(name)


def test_the_callers_trace_is_frozen_with_the_call(system: System, name: str) -> None:
    """An entry says which trace its call was a part of, also in suspense; one that cannot be read changes nothing."""
    system.apply({name: root("5.00")})
    key, trace = system.key(name), "4bf92f3577b34da6a3ce929d0e0e4736"
    for value in (f"00-{trace}-00f067aa0ba902b7-01", f"00-{'0' * 32}-00f067aa0ba902b7-01"):
        assert ask(system, key, dime(), headers={"traceparent": value}).status == 200
    system.vendor.script(error=500, billed=True, first=1)
    ask(system, key, dime(), headers={"traceparent": f"00-{trace}-00f067aa0ba902b8-00"})
    entries = system.entries(name)
    assert [(entry["kind"], entry["trace_id"]) for entry in entries] == [
        ("usage", trace), ("usage", None), ("suspense", trace)
    ]  # fmt: skip
    system.reconcile_with_vendor(name)


class Attempt(Exchange):
    """A request as far as its operation is concerned."""

    def __init__(self, body: bytes, **headers: str) -> None:
        names: Headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        self.headers, self.body = [(b"authorization", b"Bearer a"), *names], body


def test_only_a_retry_shares_an_operation() -> None:
    """The same body sent twice is two operations; a numbered retry, or the same idempotency key, is the same one."""
    operations = Operations()

    def first(body: bytes = b"x") -> str:
        return operations.of(Attempt(body, x_stainless_retry_count="0"), NOW)

    def retry(body: bytes = b"x") -> str:
        return operations.of(Attempt(body, x_stainless_retry_count="1"), NOW)

    one, two = first(), first()
    assert one != two == retry() == retry()
    assert retry(b"y") not in {one, two}
    plain = Attempt(b"x")
    assert operations.of(plain, NOW) != operations.of(plain, NOW)
    named = [operations.of(Attempt(body, idempotency_key="k"), NOW) for body in (b"x", b"y")]
    assert named[0] == named[1]


def test_an_attempt_is_numbered_by_who_makes_it() -> None:
    """The number of the caller's library, from 1; what says nothing, or nonsense, is not known."""
    said = ["0", "2", "9999", "10000", "-1", "x", "", "1.0"]
    assert [attempt_of(Attempt(b"", x_stainless_retry_count=one)) for one in said] == [1, 3, 10000, *[None] * 5]
    assert attempt_of(Attempt(b"")) is None


def test_a_rotation_does_not_bring_a_revoked_key_back(system: System, name: str) -> None:
    """A key that is revoked while somebody rotates it stays revoked, and its capability with it."""
    system.apply({name: root("5.00")})
    text = system.key(name)
    parsed = parse_access_key(text)
    assert parsed is not None
    store = system.authority.key_store
    read_before = store.find(parsed.key_id)
    assert read_before is not None
    system.authority.keys().revoke(parsed.key_id, ADMIN)
    successor = replace(read_before, id="0" * 12, rotated_from=read_before.id)
    assert not store.insert(successor, read_before.id, datetime.now(UTC))
    assert store.find(successor.id) is None
    assert ask(system, text, dime()).code == "capability_revoked"


@contextmanager
def vendor_that_says(answers: dict[str, bytes]) -> Iterator[tuple[str, list[Any]]]:
    """A vendor that answers a model's calls with fixed bytes and breaks off; its URL, and the bodies it got."""
    got: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.wfile.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            answer = answers[got[-1]["model"]]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(answer), answer))
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        server.server_close()


def test_a_running_total_of_several_choices_is_no_usage() -> None:
    """A stream of three choices that breaks off after the first one's end is in suspense, whatever total it stated."""
    usage = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    end = {"id": "c", "model": "sim-dime", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    stream = b"".join(b"data: %b\n\n" % json.dumps({**end, "usage": usage}).encode() for _ in range(1))
    with vendor_that_says({"sim-dime": stream}) as (url, got), System(vendor_url=url) as system:
        system.apply({"three": root("5.00")})
        answer = read_raw(open_stream(system, system.key("three"), dime(10, n=3)))
        assert answer.trailers == {} and got[0]["n"] == 3
        system.wait_until_no_hold_is_open()
        (entry,) = system.entries("three")
        assert (entry["kind"], entry["amount_nanousd"]) == ("suspense", 30 * DIME)


def test_a_shape_without_output_holds_nothing(system: System, name: str) -> None:
    """A grant that allows no output token refuses every call before anything is held."""
    system.apply({name: root("1.00", shape={"max_output_tokens": 0})})
    answer = ask(system, system.key(name), {"model": "sim-dime", "messages": HELLO})
    assert (answer.status, answer.code) == (400, "shape_exceeded")
    assert system.open_holds() == 0
