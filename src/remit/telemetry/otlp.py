"""Calls as OTLP: spans and metrics after OpenTelemetry's conventions for generative AI, in the JSON of OTLP/HTTP.

Names of v1.41 of the semantic conventions, or those of semantic-conventions-genai, where `gen_ai.client.token.usage` became counters and
`cache_creation` became `cache_write`. There is no attribute for cost in either, so ours begin with `remit.`.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from remit.telemetry.call import Call

Semconv = Literal["1.41", "latest"]
TOKEN_BOUNDS = tuple(4**power for power in range(14))
SECOND_BOUNDS = tuple(round(0.01 * 2**power, 2) for power in range(14))
# Models and vendors are as many as the settings route; whoever has more than this gets the rest under one name.
MAX_SERIES = 2000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CLIENT, _ERROR, _CUMULATIVE = 3, 2, 2
_Key = tuple[tuple[str, Any], ...]


def span_of(call: Call, semconv: Semconv) -> dict[str, Any]:
    """The span of a call: the model's, as the gateway made it or did not."""
    begun = _nanoseconds(call.begun)
    told = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": call.vendor,
        "gen_ai.request.model": call.model,
        "gen_ai.response.model": call.model_served,
        "gen_ai.response.id": call.vendor_request_id,
        **_usage(call, semconv),
        "error.type": error_of(call),
        "http.response.status_code": call.status,
        "remit.outcome": call.outcome,
        "remit.refusal.code": call.refusal,
        "remit.binding_node": call.binding_node,
        "remit.grant.path": call.path,
        "remit.class": call.grant_class,
        "remit.deployment": call.deployment,
        "remit.request_id": call.request_id,
        "remit.decision_id": call.decision_id,
        "remit.cost_nanousd": call.cost_nanousd,
        "remit.ceiling_nanousd": call.ceiling_nanousd,
        "remit.vendor.status_code": call.vendor_status,
    }
    span: dict[str, Any] = {
        "traceId": call.trace.trace_id,
        "spanId": call.trace.span_id,
        "name": f"chat {call.model}" if call.model else "chat",
        "kind": _CLIENT,
        "startTimeUnixNano": str(begun),
        "endTimeUnixNano": str(begun + int(call.seconds * 1_000_000_000)),
        "attributes": attributes(told),
        "status": {"code": _ERROR} if error_of(call) else {},
    }
    return span if call.trace.parent_id is None else {**span, "parentSpanId": call.trace.parent_id}


def traces(spans: list[dict[str, Any]], service: str, version: str) -> dict[str, Any]:
    """The body of `POST /v1/traces`."""
    scope = {"scope": {"name": "remit", "version": version}, "spans": spans}
    return {"resourceSpans": [{"resource": _resource(service, version), "scopeSpans": [scope]}]}


def error_of(call: Call) -> str | None:
    """What went wrong, in a few words that are few: a refusal's code, the vendor's status, or that its answer broke off."""
    if call.refusal is not None:
        return call.refusal
    if call.outcome == "failed":
        return "gateway_failed"
    if call.vendor_status is not None and call.vendor_status >= 400:
        return str(call.vendor_status)
    return "vendor_failed" if call.status is not None and call.status >= 500 else None


@dataclass(slots=True)
class _Histogram:
    bounds: tuple[float, ...]
    counts: list[int]
    count: int = 0
    sum: float = 0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.count += 1
        self.sum += value


@dataclass(slots=True)
class Sums:
    """Metrics of a process since it began, for one thread."""

    semconv: Semconv
    since: datetime
    histograms: dict[str, dict[_Key, _Histogram]] = field(default_factory=dict)
    counters: dict[str, dict[_Key, int]] = field(default_factory=dict)

    def add(self, call: Call) -> None:
        """Counts a call; a failed one too."""
        latest = self.semconv == "latest"
        about: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": call.vendor or "none",
            "gen_ai.request.model": call.model if call.vendor else None,
            "gen_ai.response.model": call.model_served,
        }
        duration = "gen_ai.client.inference.duration" if latest else "gen_ai.client.operation.duration"
        self._histogram(duration, {**about, "error.type": error_of(call)}, call.seconds, SECOND_BOUNDS)
        self.count("remit.calls", {**about, "remit.outcome": call.outcome, "remit.refusal.code": call.refusal}, 1)
        if call.cost_nanousd:
            cost = {**about, "remit.class": call.grant_class, "remit.outcome": call.outcome}
            self.count("remit.cost_nanousd", cost, call.cost_nanousd)
        if latest:
            self._tokens_latest(call, about)
        elif call.usage is not None:
            both = (("input", call.usage.total_input_tokens), ("output", call.usage.total_output_tokens))
            for kind, tokens in both:
                self._histogram("gen_ai.client.token.usage", {**about, "gen_ai.token.type": kind}, tokens, TOKEN_BOUNDS)

    def count(self, name: str, about: dict[str, Any], by: int) -> None:
        """Adds to a counter."""
        series = self.counters.setdefault(name, {})
        key = _key(about, series)
        series[key] = series.get(key, 0) + by

    def body(self, now: datetime, service: str, version: str) -> dict[str, Any]:
        """The body of `POST /v1/metrics`: sums since the beginning."""
        scope = {"scope": {"name": "remit", "version": version}, "metrics": list(self._metrics(now))}
        return {"resourceMetrics": [{"resource": _resource(service, version), "scopeMetrics": [scope]}]}

    def _tokens_latest(self, call: Call, about: dict[str, Any]) -> None:
        usage, start = call.usage, "gen_ai.client.inference"
        modality = {"gen_ai.token.modality": "unknown" if usage is None else "text"}
        counted = (
            ("input_tokens", 0 if usage is None else usage.total_input_tokens),
            ("output_tokens", 0 if usage is None else usage.total_output_tokens),
            ("cache_read.input_tokens", 0 if usage is None else usage.cache_read_tokens),
            ("cache_write.input_tokens", 0 if usage is None else usage.cache_write_tokens),
        )
        for number, (name, tokens) in enumerate(counted):
            if tokens or number < 2:
                self.count(f"{start}.usage.{name}", {**about, **modality}, tokens)
            if number < 2 and usage is not None:
                self._histogram(f"{start}.operation.{name}", about, tokens, TOKEN_BOUNDS)

    def _histogram(self, name: str, about: dict[str, Any], value: float, bounds: tuple[float, ...]) -> None:
        series = self.histograms.setdefault(name, {})
        key = _key(about, series)
        if (found := series.get(key)) is None:
            found = series[key] = _Histogram(bounds, [0] * (len(bounds) + 1))
        found.add(value)

    def _metrics(self, now: datetime) -> Iterator[dict[str, Any]]:
        times = {"startTimeUnixNano": str(_nanoseconds(self.since)), "timeUnixNano": str(_nanoseconds(now))}
        for name, series in self.histograms.items():
            points = [
                {
                    **times,
                    "attributes": attributes(dict(key)),
                    "count": str(one.count),
                    "sum": one.sum,
                    "bucketCounts": [str(count) for count in one.counts],
                    "explicitBounds": list(one.bounds),
                }
                for key, one in series.items()
            ]
            unit = "s" if name.endswith("duration") else "{token}"
            yield {
                "name": name,
                "unit": unit,
                "histogram": {"aggregationTemporality": _CUMULATIVE, "dataPoints": points},
            }
        for name, counted in self.counters.items():
            points = [{**times, "attributes": attributes(dict(key)), "asInt": str(n)} for key, n in counted.items()]
            data = {"aggregationTemporality": _CUMULATIVE, "isMonotonic": True, "dataPoints": points}
            yield {"name": name, "unit": "{token}" if name.endswith("tokens") else "1", "sum": data}


def attributes(told: dict[str, Any]) -> list[dict[str, Any]]:
    """Attributes as OTLP has them: integers of 64 bits are text there. What is None is left out."""
    return [{"key": name, "value": _value(value)} for name, value in told.items() if value is not None]


def _value(value: Any) -> dict[str, Any]:
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}


def _usage(call: Call, semconv: Semconv) -> dict[str, int]:
    usage = call.usage
    if usage is None:
        return {}
    written = "cache_write" if semconv == "latest" else "cache_creation"
    return {
        "gen_ai.usage.input_tokens": usage.total_input_tokens,
        "gen_ai.usage.output_tokens": usage.total_output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens,
        f"gen_ai.usage.{written}.input_tokens": usage.cache_write_tokens,
    }


def _resource(service: str, version: str) -> dict[str, Any]:
    return {"attributes": attributes({"service.name": service, "service.version": version})}


def _key(about: dict[str, Any], series: Mapping[_Key, Any]) -> _Key:
    key = tuple(item for item in about.items() if item[1] is not None)
    if len(series) >= MAX_SERIES and key not in series:
        return (("remit.series", "others"),)
    return key


def _nanoseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1) * 1000
