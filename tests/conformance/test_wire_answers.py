"""What callers see: headers on every answer, trailers of streams, the order of refusals, a gateway that bad bytes leave alone."""

import socket
import time
from datetime import timedelta
from typing import Any

import pytest

from remit.grants.edits import GrantEdit
from remit.grants.model import Limit, OnExhausted, Rate, Shape
from remit.grants.service import Written
from remit.kernel.decisions import RefusalCode
from tests.conformance.support import DIME, HELLO, Answer, ask, dime, events, open_stream, raw_request, read_raw
from tests.conformance.test_authority import by, key_id
from tests.system.harness import ADMIN, System, root

ALWAYS = ("x-request-id", "remit-decision-id", "remit-cost-nanousd")


def test_headers_on_every_answer(system: System, name: str) -> None:
    """Served, refused, failed or malformed: each answer names its request and decision and says what it cost."""
    system.apply({name: root("0.30")})
    key = system.key(name)
    answers = {
        "served": ask(system, key, dime()),
        "models": ask(system, key, method="GET", path="/v1/models"),
        "unauthenticated": ask(system, None, dime()),
        "surface": ask(system, key, {}, path="/v1/embeddings"),
        "shape": ask(system, key, dime(best_of=2)),
        "body": ask(system, key, b"{"),
        "exhausted": ask(system, key, dime(9)),
    }
    for script in ({"error": 429}, {"error": 500}, {"error": 401}, {"mode": "reset_before_head"}):
        system.vendor.script(**script)
        answers[str(script)] = ask(system, key, dime())
        system.reconcile_with_vendor(name)
    answers["bytes"] = send_raw(system, b"GET / HTTP/1.1\r\nbad header\r\n\r\n")
    for what, answer in answers.items():
        assert all(answer.headers.get(header) for header in ALWAYS), (what, answer.headers)
        assert answer.headers["x-request-id"].startswith("req_")
        assert answer.headers["remit-decision-id"].startswith("dec_")
        if answer.status != 200 and "remit" in answer.json["error"]:
            remit = answer.remit
            assert remit["request_id"] == answer.headers["x-request-id"]
            assert remit["decision_id"] == answer.headers["remit-decision-id"]
    assert len({answer.headers["remit-decision-id"] for answer in answers.values()}) == len(answers)
    assert answers["served"].headers["remit-cost-nanousd"] == str(DIME)
    assert answers["served"].headers["remit-remaining-nanousd"] == str(2 * DIME)
    assert answers["exhausted"].headers["remit-remaining-nanousd"] == str(2 * DIME)
    entry = system.entries(name)[0]
    assert entry["decision_id"] == answers["served"].headers["remit-decision-id"]
    assert entry["request_id"] == answers["served"].headers["x-request-id"]


def test_remaining_is_that_of_the_binding_node(system: System, name: str) -> None:
    """With several limits the header tells what the tightest has left and whose it is."""
    child = {"owner": "bo@acme.example", "limits": [{"usd": "0.50", "per": "month"}, {"usd": "0.30", "per": "day"}]}
    system.apply({name: root("2.00", children={"bo": child})})
    answer = ask(system, system.key(f"{name}/bo"), dime())
    found = (answer.headers["remit-remaining-nanousd"], answer.headers["remit-binding-node"])
    assert found == (str(2 * DIME), f"{name}/bo")


def test_trailers_tell_what_a_stream_cost(system: System, name: str) -> None:
    """A stream's head announces its trailers; they carry the settled cost and what is left."""
    system.apply({name: root("1.00")})
    answer = read_raw(open_stream(system, system.key(name), dime(3)))
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/event-stream")
    assert {"remit-cost-nanousd", "remit-remaining-nanousd"} <= set(
        answer.headers["trailer"].replace(" ", "").split(",")
    )
    assert all(answer.headers[header] for header in ("x-request-id", "remit-decision-id"))
    assert answer.headers["remit-held-nanousd"] == str(3 * DIME)
    assert answer.trailers == {
        "remit-cost-nanousd": str(3 * DIME), "remit-remaining-nanousd": str(7 * DIME), "remit-binding-node": name
    }  # fmt: skip
    assert events(answer)[-1] == "[DONE]"
    assert all(event["choices"] for event in events(answer)[:-1])
    # The trailers come after the call was settled: nothing is open any more.
    assert (system.open_holds(), system.spent(name)) == (0, 3 * DIME)
    system.reconcile_with_vendor(name)


def test_a_refused_stream_is_a_plain_answer(system: System, name: str) -> None:
    """A stream that is refused gets status and JSON, no event stream."""
    system.apply({name: root("0.05")})
    answer = read_raw(open_stream(system, system.key(name), dime()))
    assert (answer.status, answer.code, answer.headers["content-type"]) == (402, "grant_exhausted", "application/json")


# A grant below which a request can break every rule at once.
ONION: dict[str, Any] = root(
    starts="2026-01-01",
    **{"class": "experimentation"},
    children={
        "team": {
            "owner": "cy@acme.example",
            "starts": "2026-01-01",
            "limits": [{"usd": "1.00", "per": "month"}, {"usd": "0.05", "per": "once"}],
            "rate": {"tpm": 1},
            "required_tags": ["feature"],
            "on_exhausted": {"pace_from_percent": 1},
            "shape": {"surfaces": ["embeddings"], "models": ["gpt-4o"], "max_output_tokens": 9},
        }
    },
)


def test_precedence_of_refusals(noon: System) -> None:
    """A request that breaks every rule is answered with the documented first; each rule mended shows the next."""
    noon.apply({"onion": ONION})
    # A whole second, as a key's end is one: both end at once.
    soon = (noon.authority.clock.now() + timedelta(seconds=6)).replace(microsecond=0)
    made = noon.authority.keys().create("onion/team", "token", ADMIN)
    keys = {
        "tampered": made.token[:-9] + "AAAAAAAAA",  # type: ignore[union-attr,index]
        "expired": noon.key("onion/team", "expired", expires_at=soon),
        "revoked": noon.key("onion/team", "revoked"),
        "good": noon.key("onion/team", "good"),
    }
    for which in ("expired", "revoked"):
        noon.authority.keys().revoke(key_id(keys[which]), ADMIN)
    grants = noon.authority.grants
    assert isinstance(grants.change("onion/team", GrantEdit(expires_at=soon), by()), Written)
    assert isinstance(grants.suspend("onion", by()), Written)
    bad = {"model": "sim-large", "messages": HELLO, "max_tokens": 10}
    deadline = time.monotonic() + 60
    while ask(noon, keys["expired"], bad).code != "capability_expired":  # by the gateway's own clock
        assert time.monotonic() < deadline
        time.sleep(0.1)
    wrong_class, right = {"remit-tags": "feature=x,environment=prod"}, {"remit-tags": "feature=x"}

    def edit(**fields: Any) -> None:
        assert isinstance(written := grants.change("onion/team", GrantEdit(**fields), by()), Written), written

    def expect(code: str, key: str | None, body: Any, headers: dict[str, str] | None = None) -> None:
        answer = ask(noon, key, body, headers=headers)
        assert (answer.code, answer.headers["remit-refused"]) == (code, code), answer.json
        assert answer.status == (429 if code in {"rate_limited", "paced"} else RefusalCode[code].default_status)

    expect("malformed_request", None, b'{"model": "sim-large"')
    expect("malformed_request", keys["tampered"], {**bad, "messages": []})
    expect("unauthenticated", None, bad)
    expect("unauthenticated", "rk_nobody", bad)
    expect("capability_invalid", keys["tampered"], bad)
    expect("capability_expired", keys["expired"], bad)
    expect("capability_revoked", keys["revoked"], bad)
    expect("grant_inactive", keys["good"], bad)
    assert isinstance(grants.resume("onion", by()), Written)
    expect("grant_expired", keys["good"], bad)
    assert isinstance(grants.renew("onion/team", noon.authority.clock.now() + timedelta(days=30), by()), Written)
    expect("surface_not_allowed", keys["good"], bad)
    edit(shape=Shape(models=("gpt-4o",), max_output_tokens=9))
    expect("model_not_allowed", keys["good"], bad)
    edit(shape=Shape(models=("sim-*",), max_output_tokens=9))
    expect("tags_missing", keys["good"], bad)
    expect("class_mismatch", keys["good"], bad, wrong_class)
    expect("shape_exceeded", keys["good"], bad, right)
    expect("unpriced", keys["good"], {**bad, "max_tokens": 9}, right)
    expect("rate_limited", keys["good"], dime(9), right)
    edit(rate=Rate())
    expect("paced", keys["good"], dime(9), right)
    edit(on_exhausted=OnExhausted())
    expect("grant_exhausted", keys["good"], dime(9), right)
    assert noon.vendor.books().requests == 0
    edit(limits=(Limit("usd", 9 * DIME, "once"),))
    assert ask(noon, keys["good"], dime(9), headers=right).status == 200
    noon.reconcile_with_vendor("onion")


def send_raw(system: System, data: bytes) -> Answer:
    """The answer to bytes on a connection of their own, read until the gateway closes it."""
    caller = socket.create_connection(("127.0.0.1", system.port), timeout=60)
    caller.sendall(data)
    return read_raw(caller)


BROKEN_HEADS = {
    "noise": b"\x00\xff\x16\x03\x01\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n",
    "no version": b"POST /v1/chat/completions\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a space before the colon": b"POST /v1/chat/completions HTTP/1.1\r\nhost : x\r\n\r\n",
    "two lengths": b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}x",
    "length and chunks": b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a bad chunk size": b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a negative length": b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: -2\r\n\r\n{}",
    "a bare line feed": b"POST /v1/chat/completions HTTP/1.1\nhost: x\ncontent-length: 0\n\n",
    "a huge head": b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-big: " + b"a" * 200_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("what", BROKEN_HEADS)
def test_malformed_bytes_leave_the_gateway_serving(system: System, name: str, what: str) -> None:
    """Bytes that are no request get one 4xx and a closed connection; a neighbour's stream and the next call go on."""
    system.apply({name: root("5.00")})
    key = system.key(name)
    system.vendor.script(completion_tokens=10, pause_after_chunks=3)
    neighbour = open_stream(system, key, dime(10))
    pids = system.gateway_pids()
    for _ in range(3):
        answer = send_raw(system, BROKEN_HEADS[what])
        assert 400 <= answer.status < 500 or answer.status in {501, 505}, answer
        assert answer.headers["connection"] == "close"
    system.vendor.wait_paused()
    assert system.vendor.release() == 1
    assert b"[DONE]" in read_raw(neighbour).body
    assert ask(system, key, dime()).status == 200
    assert system.gateway_pids() == pids
    system.reconcile_with_vendor(name)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b'"x"', b"{", b"\xff\xfe", b'{"model": "sim-dime"}', b'{"model": 5, "messages": []}',
        b'{"model": "sim-dime", "messages": [{}]}', b'{"model": "sim-dime", "messages": "hello"}',
        b'{"model": "sim-dime", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1.5}',
        b'{"model": "sim-dime", "messages": [{"role": "user", "content": "x"}], "max_tokens": 0}',
        b'{"model": "sim-dime", "messages": [{"role": "user", "content": "x"}], "n": 129}',
        b'{"model": "sim-dime", "model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}',
        b"[" * 100_000,
    ],
)  # fmt: skip
def test_malformed_bodies_are_refused(system: System, name: str, body: bytes) -> None:
    """A body that is no chat request is refused `malformed_request`, nothing is held or sent, the connection lives."""
    system.apply({name: root("5.00")})
    answer = ask(system, system.key(name), body)
    assert (answer.status, answer.code) == (400, "malformed_request")
    assert (system.vendor.books().requests, system.open_holds()) == (0, 0)


def test_a_kept_connection_serves_after_a_refusal(system: System, name: str) -> None:
    """Refusals do not cost the caller the connection: on the same one the next call is served."""
    system.apply({name: root("0.10")})
    key = system.key(name)
    caller = socket.create_connection(("127.0.0.1", system.port), timeout=60)
    keep = b"connection: keep-alive"
    caller.sendall(raw_request(key, dime(5)).replace(b"connection: close", keep))
    caller.sendall(raw_request(key, dime(1)))
    data = b""
    while piece := caller.recv(65536):
        data += piece
    caller.close()
    assert data.startswith(b"HTTP/1.1 402 ") and b"HTTP/1.1 200 " in data
    system.reconcile_with_vendor(name)
