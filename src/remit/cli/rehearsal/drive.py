"""Sends a workload through the gateway, and beside it the latency sample: pairs of one and the same small request."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import uvloop

from remit.cli.rehearsal.cast import Planned
from remit.cli.rehearsal.requests import Message, message_of, probe_of
from remit.cli.rehearsal.tally import Tally
from remit.testing.load import Answer, Call, LoadClient, Sample, open_loop

TICK_SECONDS: Final = 0.5
_START_SECONDS: Final = 0.3
_QUIET_SECONDS: Final = 120.0
_WARM_CONNECTIONS: Final = 16
_PAIRS_WANTED: Final = 1000
_PAIRS_PER_SECOND: Final = (5.0, 20.0)


@dataclass(slots=True)
class Pairs:
    """Latencies in seconds of the sample; the request that went through the gateway and its twin are in both or none."""

    direct: Sample = field(default_factory=Sample)
    gateway: Sample = field(default_factory=Sample)
    failed: int = 0


@dataclass(slots=True)
class Drive:
    """One run. `keys` are by actor name, with `revoked` beside them where the cast needs it.

    `speed` divides the gaps between arrivals, `pace` the vendor's own times. Without `probe_key` or `vendor_url` no pairs
    are sent.
    """

    urls: Sequence[str]
    keys: dict[str, str]
    speed: float
    pace: float
    seed: int
    total: int
    run_seconds: float
    vendor_url: str | None = None
    probe_key: str | None = None
    tally: Tally = field(default_factory=Tally)
    pairs: Pairs = field(default_factory=Pairs)
    lag: Sample = field(default_factory=Sample)
    elapsed_seconds: float = 0.0
    most_inflight: int = 0
    all_ended: bool = False
    _clients: list[LoadClient] = field(default_factory=list)

    def run(self, requests: Iterable[Planned], tick: Callable[["Drive"], Awaitable[None]]) -> None:
        """Sends everything and waits for the answers; `tick` is awaited twice a second meanwhile."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._run(requests, tick))

    @property
    def inflight(self) -> int:
        return sum(client.inflight for client in self._clients)

    async def _run(self, requests: Iterable[Planned], tick: Callable[["Drive"], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        self._clients = [LoadClient(url) for url in self.urls]
        direct = LoadClient(f"{self.vendor_url}/v1") if self.vendor_url and self.probe_key else None
        for client in (*self._clients, *([direct] if direct else [])):
            await client.warm(_WARM_CONNECTIONS)
        started = loop.time() + _START_SECONDS
        ticking = asyncio.create_task(self._tick(tick, started))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(open_loop(self._due(requests, started), self._send))
                if direct is not None:
                    pairs = ((due, number) for number, due in enumerate(self._pair_instants(started)))
                    group.create_task(open_loop(pairs, partial(self._send_pair, direct)))
            quiet = [
                await client.wait_quiet(_QUIET_SECONDS) for client in (*self._clients, *([direct] if direct else []))
            ]
            self.all_ended = all(quiet)
            self.elapsed_seconds = loop.time() - started
        finally:
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)
            self.most_inflight = sum(client.most_inflight for client in self._clients)
            for client in (*self._clients, *([direct] if direct else [])):
                await client.close()
        await tick(self)

    def _due(self, requests: Iterable[Planned], started: float) -> Iterator[tuple[float, Planned]]:
        for request in requests:
            yield started + request.arrival.at_seconds / self.speed, request

    def _send(self, request: Planned, due: float) -> None:
        client = self._clients[self.tally.sent % len(self._clients)]
        name = "revoked" if request.mistake == "capability_revoked" else request.actor.name
        message = message_of(request, self.keys[name], pace=self.pace)
        self.tally.sent += 1
        client.send(Call(_bytes(client, message), due, partial(self._ended, request)))

    def _ended(self, request: Planned, answer: Answer) -> None:
        self.lag.add(answer.lag_seconds)
        self.tally.take(request, answer)

    def _pair_instants(self, started: float) -> Iterator[float]:
        source = random.Random(f"pairs {self.seed}")  # noqa: S311 - has to be repeatable, not secret
        low, high = _PAIRS_PER_SECOND
        every_seconds = 1 / min(high, max(low, _PAIRS_WANTED / max(self.run_seconds, 1.0)))
        at = started + every_seconds
        while at < started + max(self.run_seconds, 1.0):
            yield at
            at += source.uniform(0.5, 1.5) * every_seconds

    def _send_pair(self, direct: LoadClient, number: int, due: float) -> None:
        """Both at the same instant; which is written first alternates, so that neither always waits for the other."""
        both: list[tuple[int, Answer]] = []

        def ended(which: int, answer: Answer) -> None:
            both.append((which, answer))
            if len(both) < 2:
                return
            if any(one.status != 200 or one.broken for _, one in both):
                self.pairs.failed += 1
                return
            for side, one in both:
                (self.pairs.gateway if side else self.pairs.direct).add(one.total_seconds)

        through = self._clients[number % len(self._clients)]
        calls = [
            (direct, Call(_bytes(direct, probe_of(None)), due, partial(ended, 0))),
            (through, Call(_bytes(through, probe_of(self.probe_key)), due, partial(ended, 1))),
        ]
        for client, call in calls if number % 2 else reversed(calls):
            client.send(call)

    async def _tick(self, tick: Callable[["Drive"], Awaitable[None]], started: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.elapsed_seconds = max(0.0, loop.time() - started)
            await tick(self)


def _bytes(client: LoadClient, message: Message) -> bytes:
    return client.head(message.path, message.body, message.headers)
