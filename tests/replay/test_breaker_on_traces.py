"""The breaker's defaults against public traces: normal traffic never trips them, and what runs away does, and how soon."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from remit.gateway.breaking import rules_of
from remit.leases.breaker import SpendPace
from remit.settings import BreakerSettings
from remit.testing.load import read_trace
from tests.replay.breaker_calls import GRANT, ISSUED, Timed, busiest_window, run, timed

TRACES = Path(os.environ.get("REMIT_TRACES") or Path(__file__).resolve().parents[3] / "shared/data/traces")
needs_traces = pytest.mark.skipif(not TRACES.is_dir(), reason="the public traces are not on this machine")
RULES = rules_of(BreakerSettings())
DAY = 86_400
AZURE = [f"azure2023/AzureLLMInferenceTrace_{name}.csv" for name in ("code", "conv")]
SERVEGEN = sorted(path.relative_to(TRACES) for path in TRACES.glob("servegen/data/*/*/*-trace.csv"))


def azure(name: str) -> tuple[list[Timed], SpendPace]:
    """A trace and the day's limit of which it spends exactly the pace."""
    calls = list(timed(read_trace(TRACES / name)))
    seconds = calls[-1].at + 1
    return calls, SpendPace(sum(call.nanousd for call in calls) * DAY // seconds, DAY)


@needs_traces
@pytest.mark.parametrize("name", AZURE)
def test_the_traffic_of_a_whole_service_never_trips(name: str) -> None:
    """Every call of the trace, as if one agent had sent them all on a limit that just lasts, stays within the defaults."""
    calls, pace = azure(name)
    highest = run(calls, RULES, pace)
    assert highest.tripped is None
    assert highest.calls < RULES.chain_calls_per_minute


@needs_traces
def test_the_busiest_minutes_of_every_client_never_trip() -> None:
    """Each client of the larger traces, in its busiest minute of two weeks, stays within what a grant may call."""
    assert SERVEGEN
    rates = []
    for name in SERVEGEN:
        rate, instants = busiest_window(TRACES / name, 90, 60_000)
        rates.append(rate)
        if rate <= 20_000:
            calls = [Timed(int(at), number, 1) for number, at in enumerate(instants)]
            assert run(calls, RULES, None, (GRANT, ISSUED)).tripped is None, name
    assert max(rates) < RULES.calls_per_minute


@needs_traces
@pytest.mark.parametrize("name", AZURE)
def test_a_prompt_in_a_loop_trips_at_its_fortieth_call(name: str) -> None:
    """A loop amid the traffic of its own chain trips within 64 calls once it makes most of them."""
    calls, pace = azure(name)
    begin = calls[len(calls) // 2].at
    loop = [Timed(begin + number // 4, 7, 1_000_000) for number in range(40)]
    highest = run([*calls[: len(calls) // 2], *loop], RULES, pace)
    assert highest.tripped is not None and highest.tripped.rule == "repetition"
    assert highest.after_calls - len(calls) // 2 <= 40


@needs_traces
@pytest.mark.parametrize("name", AZURE)
def test_ten_times_the_spend_trips_within_ten_minutes(name: str) -> None:
    """From the middle of the trace every call costs ten times as much: tripped before ten minutes of it are over."""
    calls, pace = azure(name)
    half = len(calls) // 2
    dear = [replace(call, nanousd=call.nanousd * 10) for call in calls[half:]]
    highest = run([*calls[:half], *dear], RULES, pace)
    assert highest.tripped is not None and highest.tripped.rule == "spend"
    assert calls[highest.after_calls - 1].at - calls[half].at <= 600


@needs_traces
@pytest.mark.parametrize("name", AZURE)
def test_agents_that_double_trip_at_the_call_after_the_allowed_ones(name: str) -> None:
    """Ten generations of agents, each twice the one before, ten seconds apart, trip within 1,001 calls."""
    calls, pace = azure(name)
    begin = calls[-1].at + 60
    swarm = [Timed(begin + 5 * step, step << 16 | one, 1000) for step in range(11) for one in range(2**step)]
    highest = run([*calls, *swarm], RULES, pace)
    assert highest.tripped is not None and highest.tripped.rule == "calls"
    assert highest.after_calls - len(calls) <= 1_001
