"""Spans and metrics of calls: names of both conventions, sampling, and what is dropped."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from remit.kernel.usage import Usage
from remit.notify.calls import Endpoint
from remit.settings import SettingsError, TelemetrySettings
from remit.settings.outward import parse_headers
from remit.telemetry.call import Call, trace_of
from remit.telemetry.otlp import Sums, span_of
from remit.telemetry.pages import MetricsServer, new_registry
from remit.telemetry.sender import Sender
from remit.testing.clock import ManualClock
from remit.testing.peers.base import Fault
from remit.testing.peers.usage import CollectorPeer, plain

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
CALL = Call(
    request_id="req_1", decision_id="dec_1", trace=trace_of(None, 100), begun=NOW, seconds=1.5, outcome="settled", status=200,
    vendor="openai", model="m", usage=Usage(input_tokens=10, cache_read_tokens=4, cache_write_tokens=2, output_tokens=3),
    cost_nanousd=7,
)  # fmt: skip


def sender(peer: CollectorPeer, **more: object) -> Sender:
    clock = ManualClock(NOW)
    settings = TelemetrySettings(otlp_endpoint=peer.url, **more)  # type: ignore[arg-type] # a table
    return Sender(settings, Endpoint(base_url=peer.url, clock=clock), clock)


def test_both_conventions_have_their_names() -> None:
    """Input includes what was cached; writing to a cache was renamed, and so were the metrics."""
    old, new = (plain(span_of(CALL, one)["attributes"]) for one in ("1.41", "latest"))  # type: ignore[arg-type] # of two
    assert (old["gen_ai.usage.input_tokens"], old["gen_ai.usage.cache_read.input_tokens"]) == (16, 4)
    assert old["gen_ai.usage.cache_creation.input_tokens"] == new["gen_ai.usage.cache_write.input_tokens"] == 2
    names: list[set[str]] = []
    for semconv in ("1.41", "latest"):
        sums = Sums(semconv, NOW)  # type: ignore[arg-type] # one of two
        sums.add(CALL)
        (resource,) = sums.body(NOW, "remit", "1")["resourceMetrics"]
        names.append({one["name"] for one in resource["scopeMetrics"][0]["metrics"]})
    assert {"gen_ai.client.token.usage", "gen_ai.client.operation.duration"} <= names[0]
    assert {"gen_ai.client.inference.usage.input_tokens", "gen_ai.client.inference.duration"} <= names[1]
    assert "gen_ai.client.token.usage" not in names[1]


def test_a_trace_is_sampled_the_same_by_everybody() -> None:
    """Whether a trace is sent follows from its id; a caller who says no is not overruled."""
    low, high = "0" * 31 + "1", "0" * 16 + "f" * 16
    assert trace_of((low, "1" * 16, True), 1).sampled and not trace_of((high, "1" * 16, True), 99).sampled
    assert not trace_of((low, "1" * 16, False), 100).sampled
    assert not trace_of(None, 0).sampled and trace_of(None, 100).parent_id is None


def test_what_does_not_fit_is_dropped_and_counted() -> None:
    """A full queue costs the newest calls, a collector that refuses costs what was sent, and both are said."""
    with CollectorPeer() as peer:
        small = sender(peer, queue_calls=2)
        for number in range(3):
            small.offer(replace(CALL, request_id=f"req_{number}"))
        peer.faults.append(Fault(status=400))
        small.flush(metrics=True)
        assert (small.dropped, peer.spans) == (3, [])
        assert peer.metrics["remit.telemetry.dropped"][0]["asInt"] == "3"
        assert peer.metrics["gen_ai.client.operation.duration"][0]["count"] == "2"


def test_what_a_collector_cannot_take_now_it_gets_later() -> None:
    """Spans are kept, up to the length of the queue, until it answers; nothing is sent twice."""
    with CollectorPeer() as peer:
        one = sender(peer)
        one.offer(CALL)
        peer.faults.append(Fault(status=503))
        one.flush()
        assert peer.spans == [] and one.dropped == 0
        one.flush()
        one.flush()
        assert [span["attributes"]["remit.request_id"] for span in peer.spans] == ["req_1"]


def test_series_are_bounded() -> None:
    """However many names callers bring, what is kept does not grow without end."""
    sums = Sums("1.41", NOW)
    for number in range(2100):
        sums.add(replace(CALL, model=f"m{number}"))
    assert len(sums.counters["remit.calls"]) == 2001


def test_numbers_beyond_this_machine_need_a_token() -> None:
    """An address that others reach is refused without one."""
    with pytest.raises(SettingsError, match="token"):
        MetricsServer("0.0.0.0:0", new_registry(), None)


def test_headers_for_the_collector_are_read_strictly() -> None:
    """What is no header is refused, and not quoted."""
    assert parse_headers("x-api-key=a=b, X-Other = c ") == {"x-api-key": "a=b", "x-other": "c"}
    for wrong in ("secret", "a b=c", "x=é"):
        with pytest.raises(SettingsError) as refused:
            parse_headers(wrong)
        assert wrong not in str(refused.value)
