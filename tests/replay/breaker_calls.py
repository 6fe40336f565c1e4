"""Traces on a virtual clock through the rules of the runaway breaker: how close normal traffic comes to each of them.

Traces say when calls came and how long they were, not what they said. Calls of one length, prompt and answer, are taken for
the same prompt, so what is measured of repetition is more than there was.
"""

import csv
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from remit.leases.breaker import BreakerRules, Scope, SpendPace, Tripping, WatchedCall, Watches
from remit.testing.load.trace import Arrival

GRANT = Scope("grant_trace", "grant", "grant_trace")
ISSUED = Scope("grant_trace", "block", "0" * 64)
AGENT = Scope("grant_trace", "block", "1" * 64)
# List prices of gpt-4o: nano-USD per token.
PROMPT_NANOUSD, OUTPUT_NANOUSD = 2_500, 10_000


@dataclass(frozen=True, slots=True)
class Timed:
    """One call of a trace: when, in whole seconds, what stands for its prompt, and what it costs."""

    at: int
    digest: int
    nanousd: int


@dataclass(slots=True)
class Highest:
    """The highest values that a rule looked at: calls in a minute, nano-USD in ten minutes, repetitions of one prompt."""

    calls: int = 0
    spend_nanousd: int = 0
    repetitions: int = 0
    tripped: Tripping | None = None
    after_calls: int = 0


def timed(arrivals: Iterable[Arrival]) -> Iterator[Timed]:
    """Arrivals as the breaker sees them."""
    for one in arrivals:
        cost = one.prompt_tokens * PROMPT_NANOUSD + one.output_tokens * OUTPUT_NANOUSD
        yield Timed(int(one.at_seconds), one.prompt_tokens << 32 | one.output_tokens, cost)


def run(
    calls: Iterable[Timed],
    rules: BreakerRules,
    pace: SpendPace | None,
    scopes: tuple[Scope, ...] = (GRANT, ISSUED, AGENT),
) -> Highest:
    """Sends calls through the rules as one chain of one grant, until something trips."""
    watches, highest = Watches(rules), Highest()
    for call in calls:
        highest.after_calls += 1
        tripping = watches.watch(
            WatchedCall(scopes=scopes, depth=1, digest=call.digest, tags={}, pace=pace, at=call.at)
        )
        watches.spent(scopes, call.nanousd, call.at)
        if tripping is not None:
            highest.tripped = tripping
            return highest
        figures = watches.figures(GRANT, call.at)
        assert figures is not None
        highest.calls = max(highest.calls, figures[0])
        highest.spend_nanousd = max(highest.spend_nanousd, figures[1])
        highest.repetitions = max(highest.repetitions, watches.repeated(GRANT, call.digest))
    return highest


def busiest_window(path: Path, seconds: int, most: int, seed: int = 1) -> tuple[int, list[float]]:
    """The busiest window of a client's rates in the format of ServeGen: its calls per minute, and instants drawn from it.

    Lines are `start, calls per second, coefficient of variation, distribution, its parameters`, one per ten minutes. The gaps
    are gamma distributed with that coefficient; at most `most` instants within `seconds`.
    """
    rows = [row for row in csv.reader(path.read_text(encoding="utf-8").splitlines()) if len(row) >= 3]
    rate, variation = max((float(row[1]), float(row[2] or 1)) for row in rows)
    instants: list[float] = []
    if rate > 0:
        source = random.Random(f"window {seed}")
        shape = 1 / max(variation, 0.05) ** 2
        at = 0.0
        while at < seconds and len(instants) < most:
            instants.append(at)
            at += source.gammavariate(shape, 1 / rate / shape)
    return int(rate * 60), instants
