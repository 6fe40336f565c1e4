"""What a running Remit tells others: spans, numbers and events; and what it does not tell vendors."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from remit.testing.peers.base import Asked, Peer, PeerReply
from remit.testing.peers.usage import CollectorPeer, EventsPeer
from tests.system.harness import SIM_PRICES, System, free_port, root

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SECRET_PROMPT, SECRET_ANSWER = "the merger is on Tuesday", "nobody may know that"


class Vendor(Peer):
    """Answers every chat, and remembers the headers it was sent."""

    def answer(self, asked: Asked) -> PeerReply:
        message = {"role": "assistant", "content": SECRET_ANSWER}
        usage = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = {"id": "chatcmpl-1", "object": "chat.completion", "model": "sim-small-2026", "choices": [choice]}
        return PeerReply(200, {**body, "model": "sim-small", "usage": usage})


@dataclass
class Ground:
    system: System
    vendor: Vendor
    collector: CollectorPeer
    events: EventsPeer
    authority: str
    gateway: str

    def chat(self, key: str, **headers: str) -> httpx.Response:
        body = {"model": "sim-small", "messages": [{"role": "user", "content": SECRET_PROMPT}], "max_tokens": 5}
        all_headers = {
            "authorization": f"Bearer {key}",
            **{name.replace("_", "-"): text for name, text in headers.items()},
        }
        return httpx.post(f"{self.system.base_url}/chat/completions", json=body, headers=all_headers, timeout=30)


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    """A Remit with a vendor, a collector, a receiver of events and two pages of numbers."""
    with Vendor() as vendor, CollectorPeer() as collector, EventsPeer() as events:
        authority, gateway = (f"127.0.0.1:{free_port()}" for _ in range(2))
        settings = f"""
[telemetry]
otlp_endpoint = "{collector.url}"
headers_env = "OTLP_HEADERS"
every_seconds = 0.1
metrics_seconds = 0.1

[metrics]
listen = "{authority}"
gateway_listen = "{gateway}"
token_env = "METRICS_TOKEN"

[[sinks]]
name = "billing"
kind = "cloudevents"
url = "{events.url}"
tags = ["team"]
"""
        environment = {"OTLP_HEADERS": "x-tenant=acme", "METRICS_TOKEN": "sixteen-bytes-and-more"}
        with System(vendor_url=vendor.url, settings=SIM_PRICES + settings, environment=environment) as system:
            system.apply({"acme": root("100.00"), "empty": root("0.000001")})
            yield Ground(system, vendor, collector, events, authority, gateway)


def until(wanted: Callable[[], Any]) -> Any:
    """What it answers as soon as that is something, waited for half a minute at most."""
    deadline = time.monotonic() + 30
    while not (found := wanted()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)
    return found


def span_of(ground: Ground, answer: httpx.Response) -> dict[str, Any]:
    """The span of a request."""
    request = answer.headers["x-request-id"]

    def found() -> Any:
        return next((one for one in ground.collector.spans if one["attributes"]["remit.request_id"] == request), None)

    return until(found)  # type: ignore[no-any-return] # a span


def test_a_call_is_a_span_of_the_callers_trace(ground: Ground) -> None:
    """It has the names of the conventions, the tokens, the cost and the decision, and no word of what was said."""
    answer = ground.chat(ground.system.key("acme"), traceparent=f"00-{TRACE}-{SPAN}-01")
    assert answer.status_code == 200
    span = span_of(ground, answer)
    assert (span["traceId"], span["parentSpanId"], span["name"]) == (TRACE, SPAN, "chat sim-small")
    told = span["attributes"]
    assert told["gen_ai.provider.name"] == "openai" and told["gen_ai.response.model"] == "sim-small"
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (12, 3)
    assert told["remit.cost_nanousd"] == int(answer.headers["remit-cost-nanousd"]) > 0
    assert (told["remit.outcome"], told["remit.grant.path"]) == ("settled", "acme")
    assert told["remit.decision_id"] == answer.headers["remit-decision-id"]
    assert ground.collector.asked[0].headers["x-tenant"] == "acme"
    sent = b"".join(one.body for one in ground.collector.asked).decode()
    assert SECRET_PROMPT not in sent and SECRET_ANSWER not in sent and ground.system.key("acme") not in sent
    counted = until(lambda: ground.collector.metrics.get("gen_ai.client.token.usage"))
    assert {one["attributes"]["gen_ai.token.type"] for one in counted} == {"input", "output"}


def test_a_refusal_is_a_span_too(ground: Ground) -> None:
    """It says which rule, and that it cost nothing; a caller who records nothing gets no span."""
    key = ground.system.key("empty")
    unrecorded = ground.chat(key, traceparent=f"00-{TRACE}-{SPAN}-00")
    answer = ground.chat(key)
    span = span_of(ground, answer)
    assert (
        span["attributes"]["remit.refusal.code"] == span["attributes"]["error.type"] == answer.headers["remit-refused"]
    )
    assert span["status"] == {"code": 2} and span["attributes"]["remit.cost_nanousd"] == 0
    assert unrecorded.headers["x-request-id"] not in [
        one["attributes"]["remit.request_id"] for one in ground.collector.spans
    ]


def test_baggage_is_a_hint_and_no_vendor_hears_of_it(ground: Ground) -> None:
    """Its tags count where nothing stronger says otherwise; a vendor is sent nothing of the caller's trace or baggage."""
    key = ground.system.key("acme")
    seen = len(ground.vendor.asked)
    answer = ground.chat(
        key,
        baggage="remit.tag.feature=smart%20search;x=1,remit.tag.team=wrong,other=7,remit.tag.BAD=1",
        remit_tags="team=search",
        traceparent=f"00-{TRACE}-{SPAN}-01",
        tracestate="vendor=secret-of-the-caller",
    )
    assert answer.status_code == 200
    entry = ground.system.entries("acme")[-1]
    assert entry["tags"] == {"team": "search", "feature": "smart search"}
    (asked,) = ground.vendor.asked[seen:]
    assert not {"baggage", "traceparent", "tracestate", "remit-tags"} & set(asked.headers)
    assert not [text for text in asked.headers.values() if TRACE in text or "secret-of-the-caller" in text]


def test_numbers_are_shown_to_who_has_the_token(ground: Ground) -> None:
    """The gateway counts calls and the authority says how the books are; neither has a label for each grant."""
    assert ground.chat(ground.system.key("acme")).status_code == 200
    for page in (ground.gateway, ground.authority):
        assert httpx.get(f"http://{page}/metrics").status_code == 401
        assert httpx.get(f"http://{page}/else").status_code == 404

    def numbers(page: str) -> str:
        shown = httpx.get(f"http://{page}/metrics", headers={"authorization": "Bearer sixteen-bytes-and-more"})
        assert shown.status_code == 200, shown.text
        return shown.text

    counted = numbers(ground.gateway)
    assert 'remit_gateway_requests_total{class="production",code="",outcome="settled",vendor="openai"}' in counted
    assert "remit_gateway_tree_revision" in counted and "acme" not in counted
    until(lambda: 'remit_spend_nanousd{class="production",vendor="openai"}' in numbers(ground.authority))
    books = numbers(ground.authority)
    for name in (
        "holds_open",
        "tree_revision_lag",
        "unsealed_entries",
        "rollup_lag_entries",
        'sink_letters{sink="billing"}',
    ):
        assert f"remit_{name}" in books, name
    assert "acme" not in books


def test_what_was_booked_is_posted(ground: Ground) -> None:
    """A sink gets each entry that was settled, without anybody's asking, with the tags it is to be told."""
    key = ground.system.key("acme")
    assert ground.chat(key, remit_tags="team=search,customer=secret").status_code == 200
    wanted = [entry["id"] for entry in ground.system.entries("acme")]
    until(lambda: set(wanted) <= set(ground.events.ids))
    assert ground.events.ids == sorted(ground.events.ids)
    event = ground.events.kept["remit", wanted[-1]]
    assert event["data"]["tags"] == {"team": "search"} and "secret" not in json.dumps(event)
