"""One measurement of one candidate: requests for some seconds, and what they took."""

import asyncio
import contextlib
import gc
from collections import Counter
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec

from bench.candidates import Candidate, refresh
from bench.machine import cpu_seconds
from remit.testing.load.client import Answer, Call, LoadClient
from remit.testing.load.percentiles import Sample
from remit.testing.load.schedule import open_loop

BODY_BYTES = 1024
OUTPUT_TOKENS = 16
STREAM_TOKENS = 50
CHUNK_MILLISECONDS = 10
WARM_SECONDS = 0.5
_DRAIN_SECONDS = 30.0
_MICROSECONDS = 1e6


@dataclass(slots=True)
class Result:
    """What one measurement found. Latencies in microseconds; processor time in microseconds for each request (or chunk).

    `errors` counts everything but a whole 200, by what it was.
    """

    requests: int = 0
    seconds: float = 0.0
    events: int = 0
    latencies: Sample = field(default_factory=Sample)
    errors: Counter[str] = field(default_factory=Counter)
    cpu_us: dict[str, float] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    @property
    def events_per_second(self) -> float:
        return self.events / self.seconds

    def latency_us(self, percent: int) -> float:
        value = self.latencies.percentile(percent)
        return float("nan") if value is None else value * _MICROSECONDS

    def take(self, answer: Answer, *, stream: bool) -> None:
        """Counts an answer that came in time."""
        if answer.broken is not None:
            self.errors[answer.broken] += 1
        elif answer.status != 200 or (stream and not answer.ended):
            self.errors[f"status {answer.status}"] += 1
        else:
            self.requests += 1
            self.events += answer.events
            self.latencies.add(answer.total_seconds)


def request_body(*, stream: bool) -> bytes:
    """A chat completion of 1 KB, with an output bound that the simulator uses up."""
    request = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "system", "content": "You are terse."}, {"role": "user", "content": ""}],
        "max_completion_tokens": STREAM_TOKENS if stream else OUTPUT_TOKENS,
        "temperature": 0,
    }
    if stream:
        request["stream"] = True
    script = f"sim: chunk_ms={CHUNK_MILLISECONDS}\n" if stream else ""
    filling = BODY_BYTES - len(msgspec.json.encode(request)) - len(msgspec.json.encode(script)) + 2
    request["messages"][1]["content"] = script + "word " * (filling // 5) + "." * (filling % 5)  # type: ignore[index]
    body = msgspec.json.encode(request)
    assert len(body) == BODY_BYTES, len(body)
    return body


async def closed_loop(candidate: Candidate, connections: int, seconds: float, *, stream: bool = False) -> Result:
    """Each connection sends its next request when it has its answer."""
    async with _Client(candidate, connections, stream=stream) as client:
        await client.run_closed(WARM_SECONDS)
        return await client.measured(client.run_closed(seconds))


async def open_at_rate(candidate: Candidate, rate: int, seconds: float) -> Result:
    """Requests at even distances, whatever the answers do; latencies count from the instant a request was due."""
    async with _Client(candidate, 64, stream=False) as client:
        await client.run_open(rate, WARM_SECONDS)
        return await client.measured(client.run_open(rate, seconds))


class _Client:
    def __init__(self, candidate: Candidate, connections: int, *, stream: bool) -> None:
        self._candidate = candidate
        self._connections = connections
        self._stream = stream
        self._client = LoadClient(candidate.url, max_connections=connections)
        headers = {"authorization": f"Bearer {candidate.key}", "accept": "*/*"}
        self._message = self._client.head("/chat/completions", request_body(stream=stream), headers)
        self._loop = asyncio.get_running_loop()
        self._until = 0.0
        self._lanes = 0
        self._over = asyncio.Event()
        self._result = Result()

    async def __aenter__(self) -> Self:
        await self._client.warm(self._connections)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.close()

    async def measured(self, run: Coroutine[Any, Any, None]) -> Result:
        """The result of a run, with the processor time it took; collecting garbage is left for afterwards."""
        refresh(self._candidate)
        result = self._result = Result()
        gc.collect()
        gc.disable()
        try:
            before = {name: cpu_seconds(pids) for name, pids in self._candidate.processes.items()}
            started = self._loop.time()
            await run
            result.seconds = self._loop.time() - started
            for name, pids in self._candidate.processes.items():
                start, end = before[name], cpu_seconds(pids)
                counted = result.events if self._stream else result.requests
                if start is not None and end is not None and counted:
                    result.cpu_us[name] = (end - start) * _MICROSECONDS / counted
        finally:
            gc.enable()
        return result

    async def run_closed(self, seconds: float) -> None:
        self._until = self._loop.time() + seconds
        self._lanes = self._connections
        self._over.clear()
        for _ in range(self._connections):
            self._send_next()
        # With one connection nothing is under way between two requests, so the client being quiet says nothing.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds + _DRAIN_SECONDS)
        if self._lanes:
            self._result.errors["no answer"] += self._lanes

    async def run_open(self, rate: int, seconds: float) -> None:
        start = self._loop.time() + 0.01

        def instants() -> Iterator[tuple[float, None]]:
            for number in range(int(rate * seconds)):
                yield start + number / rate, None

        def send(item: None, due: float) -> None:
            self._client.send(Call(self._message, due, self._take))

        await open_loop(instants(), send)
        if not await self._client.wait_quiet(_DRAIN_SECONDS):
            self._result.errors["no answer"] += self._client.inflight

    def _send_next(self) -> None:
        self._client.send(Call(self._message, self._loop.time(), self._take_and_send))

    def _take(self, answer: Answer) -> None:
        self._result.take(answer, stream=self._stream)

    def _take_and_send(self, answer: Answer) -> None:
        self._take(answer)
        if self._loop.time() < self._until:
            # Not from within the callback: the connection that answered is free only afterwards.
            self._loop.call_soon(self._send_next)
            return
        self._lanes -= 1
        if not self._lanes:
            self._over.set()
