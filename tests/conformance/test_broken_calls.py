"""Callers who leave, vendors that fail: every hold ends in time, every call is settled once at what it cost."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import openai
import psycopg
import pytest

from remit.testing.vendor_sim import VendorProcess
from tests.conformance.support import DIME, HELLO, Answer, Tap, ask, dime, open_stream, read_raw
from tests.system.harness import System, root


def read_some(caller: socket.socket, chunks: int) -> None:
    """Reads until that many events of a stream have come."""
    data = b""
    while data.count(b"data: ") < chunks:
        piece = caller.recv(4096)
        assert piece, data
        data += piece


def listens(port: int) -> bool:
    """Whether anyone takes connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=60).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize("abort", [False, True])
def test_caller_hangs_up_and_the_full_cost_is_settled(system: System, name: str, abort: bool) -> None:
    """A caller who leaves after 3 chunks pays what the vendor completes, at the vendor's stated usage."""
    system.apply({name: root("5.00")})
    system.vendor.script(chunk_ms=20, completion_tokens=20, pause_after_chunks=3)
    caller = open_stream(system, system.key(name), dime(30))
    read_some(caller, 3)
    if abort:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    caller.close()
    assert system.open_holds() == 1
    system.vendor.wait_paused()
    assert system.vendor.release() == 1
    system.wait_until_no_hold_is_open()
    (entry,) = system.entries(name)
    assert (entry["kind"], entry["usage_source"], entry["amount_nanousd"]) == ("usage", "vendor", 20 * DIME)
    assert system.vendor.books().by_outcome == {"completed": 1}
    assert system.reconcile_with_vendor(name) == []


def test_caller_hangs_up_before_the_answer(system: System, name: str) -> None:
    """A caller of a plain call who leaves while the vendor thinks pays it as well."""
    system.apply({name: root("5.00")})
    system.vendor.script(latency_ms=600_000)
    caller = open_stream(system, system.key(name), dime(3, stream=False))
    system.vendor.wait_paused()
    caller.close()
    assert system.vendor.release() == 1
    system.wait_until_no_hold_is_open()
    assert system.spent(name) == 3 * DIME
    assert system.reconcile_with_vendor(name) == []


@pytest.mark.parametrize("mode", ["reset_after_chunks:3", "truncated:3", "error_after_chunks:3"])
def test_vendor_drops_mid_stream_and_the_hold_is_gone(system: System, name: str, mode: str) -> None:
    """A stream that breaks is broken for the caller too; it is booked at its ceiling until the statement says."""
    system.apply({name: root("5.00")})
    system.vendor.script(mode=mode, completion_tokens=10)
    answer = read_raw(open_stream(system, system.key(name), dime(20)))
    assert answer.status == 200 and b"[DONE]" not in answer.body and answer.trailers == {}
    system.wait_until_no_hold_is_open()
    (entry,) = system.entries(name)
    assert (entry["kind"], entry["amount_nanousd"]) == ("suspense", 20 * DIME)
    assert sum(line["amount_nanousd"] for line in entry["price_lines"]) == 20 * DIME
    assert len(system.reconcile_with_vendor(name)) == 1
    assert system.spent(name) == 10 * DIME


@pytest.mark.parametrize("billed", [False, True])
@pytest.mark.parametrize("mode", ["reset_before_head", "close_before_head", "garbage", "garbage_head", "truncated"])
def test_vendor_drops_a_plain_call(system: System, name: str, mode: str, billed: bool) -> None:
    """Whether or not a call that broke off was billed, nothing is assumed: suspense, then what the statement says."""
    system.apply({name: root("5.00")})
    system.vendor.script(mode=mode, billed=billed, completion_tokens=2)
    answer = ask(system, system.key(name), dime(4))
    if mode != "garbage":
        assert (answer.status, answer.json["error"]["code"]) == (502, "vendor_failed")
        assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["remit-cost-nanousd"] == str(4 * DIME)
    system.wait_until_no_hold_is_open()
    assert [entry["kind"] for entry in system.entries(name)] == ["suspense"]
    assert len(system.reconcile_with_vendor(name)) == 1
    assert system.spent(name) == (2 * DIME if billed else 0)
    assert system.vendor.books().requests == 1


def test_vendor_500_billed_settles_each_attempt_once(system: System, name: str) -> None:
    """The official SDK retries two billed 500s: three attempts, three holds, each settled once, one operation."""
    system.apply({name: root("5.00")})
    system.vendor.script(error=500, billed=True, first=2)
    with system.client(system.key(name), max_retries=2) as client:
        answer = client.chat.completions.create(
            model="sim-dime", messages=HELLO, max_tokens=3, extra_headers={"idempotency-key": "one-operation"}
        )
    assert answer.usage is not None and answer.usage.completion_tokens == 3
    assert system.vendor.books().by_outcome == {"completed": 1, "error_billed": 2}
    entries = system.entries(name)
    assert [entry["kind"] for entry in entries] == ["suspense", "suspense", "usage"]
    assert len({entry["operation_id"] for entry in entries}) == 1
    assert len({entry["hold_id"] for entry in entries}) == len({entry["request_id"] for entry in entries}) == 3
    assert len(system.reconcile_with_vendor(name)) == 2
    assert system.spent(name) == 9 * DIME


def test_vendor_500_not_billed_is_freed_by_the_statement(system: System, name: str) -> None:
    """A 500 may have been billed, so it stays at its ceiling until a statement without it frees all of it."""
    system.apply({name: root("0.30")})
    key = system.key(name)
    system.vendor.script(error=500)
    assert ask(system, key, dime(3)).status == 500
    assert ask(system, key, dime(1)).code == "grant_exhausted"
    system.reconcile_with_vendor(name)
    system.vendor.script()
    assert ask(system, key, dime(3)).status == 200
    system.reconcile_with_vendor(name)


@pytest.mark.parametrize("status", [400, 404, 422, 429])
def test_vendor_errors_that_are_never_billed_free_the_hold(system: System, name: str, status: int) -> None:
    """A vendor's own refusal reaches the caller as it is, costs nothing, and is booked as a request that cost nothing."""
    system.apply({name: root("0.10")})
    key = system.key(name)
    system.vendor.script(error=status)
    answer = ask(system, key, dime())
    assert (answer.status, answer.headers["remit-cost-nanousd"]) == (status, "0")
    assert "remit" not in answer.json["error"]
    assert [(entry["kind"], entry["amount_nanousd"], entry["requests"]) for entry in system.entries(name)] == [
        ("usage", 0, 1)
    ]
    assert system.open_holds() == 0
    system.vendor.script()
    assert ask(system, key, dime()).status == 200
    system.reconcile_with_vendor(name)


def test_vendor_refusing_our_key_is_no_refusal_of_the_callers(system: System, name: str) -> None:
    """A 401 of the vendor is about the gateway's key: callers see 502, not that their key is wrong."""
    system.apply({name: root("1.00")})
    system.vendor.script(error=401)
    with system.client(system.key(name)) as client, pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="sim-dime", messages=HELLO, max_tokens=1)
    assert caught.value.status_code == 502
    system.reconcile_with_vendor(name)


def test_vendor_unreachable_is_no_deployment_and_costs_nothing() -> None:
    """A vendor that is gone, from a kept connection or altogether: 503 `no_deployment`, the hold voided, no entry."""
    with VendorProcess() as vendor, Tap(vendor.url) as tap, System(vendor=vendor, vendor_url=tap.url) as system:
        system.apply({"acme": root("0.20")})
        key = system.key("acme")
        assert ask(system, key, dime()).status == 200
        tap.refuse()
        for _ in range(3):
            answer = ask(system, key, dime())
            assert (answer.status, answer.code, answer.remit["transient"]) == (503, "no_deployment", True)
            assert (answer.headers["retry-after"], answer.headers["remit-cost-nanousd"]) == ("1", "0")
        assert system.sql("SELECT state FROM holds ORDER BY id") == [("settled",), *[("voided",)] * 3]
        assert system.reconcile_with_vendor("acme") == []
        assert system.spent("acme") == DIME


@pytest.mark.parametrize("billed", [False, True])
def test_vendor_hangs_and_time_is_up(quick: System, billed: bool) -> None:
    """A call that gets no answer in time is given up, booked at its ceiling, and corrected by the statement."""
    name = f"hang-{str(billed).lower()}"
    quick.vendor.reset()
    quick.apply({name: root("1.00")})
    quick.vendor.script(mode="hang", billed=billed, completion_tokens=1)
    started = time.monotonic()
    answer = ask(quick, quick.key(name), dime(4))
    assert (answer.status, answer.json["error"]["code"]) == (502, "vendor_failed")
    assert time.monotonic() - started > 1.9
    quick.wait_until_no_hold_is_open()
    assert [entry["kind"] for entry in quick.entries(name)] == ["suspense"]
    quick.reconcile_with_vendor(name)
    assert quick.spent(name) == (DIME if billed else 0)


def test_vendor_streams_too_long_and_time_is_up(quick: System) -> None:
    """A stream that is not over in time is cut for the caller; the vendor finishes and its statement is believed."""
    quick.vendor.reset()
    quick.apply({"long-stream": root("10.00")})
    quick.vendor.script(pause_after_chunks=10)
    answer: Answer = read_raw(open_stream(quick, quick.key("long-stream"), dime(30)))
    assert answer.status == 200 and b"[DONE]" not in answer.body
    quick.vendor.wait_paused()
    assert quick.vendor.release() == 1
    quick.wait_until_no_hold_is_open()
    assert quick.spent("long-stream") == 30 * DIME
    quick.reconcile_with_vendor("long-stream")


def test_holds_of_a_killed_gateway_end_in_suspense() -> None:
    """Kill -9 during a call: its hold is ended by the sweeper in its time, and the statement says what it cost."""
    with System(gateway={"request_seconds": 6.0, "hold_seconds": 8.0}) as system:
        system.apply({"killed": root("1.00")})
        key = system.key("killed")
        system.vendor.script(latency_ms=600_000)
        caller = open_stream(system, key, dime(5, stream=False))
        system.vendor.wait_paused()
        system.kill_gateway()
        caller.close()
        assert system.open_holds() == 1
        assert system.vendor.release() == 1
        system.wait_until_no_hold_is_open()
        assert [entry["kind"] for entry in system.entries("killed")] == ["suspense"]
        assert len(system.reconcile_with_vendor("killed")) == 1
        system.vendor.script()
        system.wait_ready()
        assert ask(system, key, dime(1)).status == 200
        system.reconcile_with_vendor("killed")


def test_sigterm_drains_a_running_stream() -> None:
    """Told to stop, the gateway takes no new callers, lets a running stream end, settles it, and leaves with 0."""
    with System(gateway={"drain_seconds": 50}) as system, ThreadPoolExecutor() as pool:
        system.apply({"acme": root("10.00")})
        key = system.key("acme")
        system.vendor.script(completion_tokens=20, pause_after_chunks=3)
        caller = open_stream(system, key, dime(30))
        read_some(caller, 3)
        assert system.open_holds() == 1
        stopping = pool.submit(system.stop)
        while listens(system.port):
            time.sleep(0.01)
        assert not stopping.done()
        system.vendor.wait_paused()
        assert system.vendor.release() == 1
        rest = b""
        while piece := caller.recv(65536):
            rest += piece
        caller.close()
        assert stopping.result() == 0
        assert b"[DONE]" in rest and b"remit-cost-nanousd: 2000000000" in rest
        (entry,) = system.entries("acme")
        assert (entry["kind"], entry["amount_nanousd"]) == ("usage", 20 * DIME)
        system.reconcile_with_vendor("acme")


def test_database_away_refuses_and_settles_afterwards(system: System, name: str) -> None:
    """Without its database the gateway refuses 503 and sends nothing; a call under way is settled when it is back."""
    system.apply({name: root("1.00")})
    key = system.key(name)
    system.vendor.script(latency_ms=600_000)
    caller = open_stream(system, key, dime(2, stream=False))
    system.vendor.wait_paused()
    with psycopg.connect(system.url, autocommit=True) as administrator:
        allow = "UPDATE pg_database SET datallowconn = %s WHERE datname = current_database()"
        administrator.execute(allow, (False,))
        try:
            administrator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            for known in (key, key, "rk_made-a-moment-ago"):
                answer = ask(system, known, dime())
                assert (answer.status, answer.code, answer.headers["retry-after"]) == (
                    503,
                    "authority_unreachable",
                    "1",
                )
            assert system.vendor.release() == 1
            assert system.vendor.wait_idle().requests == 1
        finally:
            administrator.execute(allow, (True,))
    assert read_raw(caller).status == 200
    assert system.spent(name) == 2 * DIME == system.vendor.books().total_nanousd
    system.vendor.script()
    assert ask(system, key, dime()).status == 200
    assert system.reconcile_with_vendor(name) == []
