"""Carries spans and metrics to a collector, from a thread of its own: whoever makes calls never waits for it."""

import threading
from collections import deque
from typing import Any

import msgspec
import structlog

from remit import __version__
from remit.kernel.clock import Clock
from remit.notify.calls import Endpoint
from remit.notify.ports import Dead, TryAgain
from remit.settings import TelemetrySettings
from remit.telemetry.call import Call
from remit.telemetry.otlp import Sums, span_of, traces

_log = structlog.get_logger(__name__)
MAX_SPANS_AT_ONCE = 512
STOP_SECONDS = 3.0


class Sender:
    """Takes calls; sends what came every now and then. What does not fit, or the collector does not take, is dropped and counted."""

    def __init__(self, settings: TelemetrySettings, endpoint: Endpoint, clock: Clock) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self._clock = clock
        self._calls: deque[Call] = deque()
        self._spans: deque[dict[str, Any]] = deque()
        self._most = settings.queue_calls
        self._sums = Sums(settings.semconv, clock.now())
        self._metrics_at = clock.monotonic()
        self._told = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        # Each is counted by one thread.
        self._not_kept = self._not_sent = 0

    @property
    def dropped(self) -> int:
        """How many calls are not told of."""
        return self._not_kept + self._not_sent

    def offer(self, call: Call) -> None:
        """Takes a call, or drops it: on the event loop, so it does no more than that."""
        if len(self._calls) >= self._most:
            self._not_kept += 1
        else:
            self._calls.append(call)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Sends what is there, and gives up a collector that hangs."""
        self._stop.set()
        self._thread.join(STOP_SECONDS)

    def flush(self, *, metrics: bool = False) -> None:
        """Sends what came so far, now."""
        while self._calls:
            call = self._calls.popleft()
            self._sums.add(call)
            if call.trace.sampled:
                self._spans.append(span_of(call, self._settings.semconv))
        while len(self._spans) > self._most:
            self._spans.popleft()
            self._not_sent += 1
        while self._spans:
            batch = [self._spans[number] for number in range(min(len(self._spans), MAX_SPANS_AT_ONCE))]
            if not self._post("/v1/traces", traces(batch, self._settings.service_name, __version__), len(batch)):
                break
            for _ in batch:
                self._spans.popleft()
        if metrics:
            if self.dropped:
                self._sums.counters["remit.telemetry.dropped"] = {(): self.dropped}
            body = self._sums.body(self._clock.now(), self._settings.service_name, __version__)
            self._post("/v1/metrics", body, 0)
        if (dropped := self.dropped) > self._told:
            _log.warning("telemetry_dropped", calls=dropped - self._told, in_all=dropped)
            self._told = dropped

    def _post(self, path: str, body: Any, spans: int) -> bool:
        """Whether these are done with. What the collector may take later is kept; what it refuses is dropped."""
        answer = self._endpoint.call(
            "POST", path, raw=msgspec.json.encode(body), headers={"content-type": "application/json"}
        )
        if isinstance(answer, TryAgain | Dead):
            _log.warning("telemetry_not_sent", path=path, error=answer.why)
            if isinstance(answer, TryAgain):
                return False
            self._not_sent += spans
        return True

    def _run(self) -> None:
        while not self._stop.wait(self._settings.every_seconds):
            due = self._clock.monotonic() - self._metrics_at >= self._settings.metrics_seconds
            if due:
                self._metrics_at = self._clock.monotonic()
            self._round(metrics=due)
        self._round(metrics=True)

    def _round(self, *, metrics: bool) -> None:
        try:
            self.flush(metrics=metrics)
        except Exception:  # noqa: BLE001 - logged; telemetry that fails stops nothing else
            _log.exception("telemetry_failed")
