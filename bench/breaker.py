"""`python -m bench.breaker [FOLDER]`: what watching a call costs, and how close public traces come to the breaker's rules.

FOLDER has the traces (`azure2023/`, `servegen/`); without it only the cost is measured. One process, no database.
"""

import sys
import time
from pathlib import Path

from bench.machine import describe
from remit.gateway.breaking import rules_of
from remit.gateway.prompts import PromptDigests
from remit.leases.breaker import Scope, SpendPace, WatchedCall, Watches
from remit.providers.openai import ChatRequest, parse_chat_request
from remit.settings import BreakerSettings
from remit.testing.load import read_trace
from tests.replay.breaker_calls import busiest_window, run, timed

ROUNDS = 20_000
RULES = rules_of(BreakerSettings())


def main() -> None:
    """Prints two tables."""
    print(describe())
    print("| work | p50 | p99 |\n|---|---|---|")
    for blocks in (1, 3, 8):
        _row(f"watch a call of {blocks} blocks", _watching(blocks))
    for size in (1_000, 64_000):
        _row(f"digest of a prompt of {size:,} bytes", _digesting(size))
    if len(sys.argv) > 1:
        _margins(Path(sys.argv[1]))


def _row(name: str, nanoseconds: list[int]) -> None:
    ordered = sorted(nanoseconds)
    print(
        f"| {name} | {ordered[len(ordered) // 2] / 1000:.1f} us | {ordered[len(ordered) * 99 // 100] / 1000:.1f} us |"
    )


def _watching(blocks: int) -> list[int]:
    watches, took = Watches(RULES), []
    scopes = (Scope("g", "grant", "g"), *(Scope("g", "block", f"{number:064x}") for number in range(blocks)))
    for number in range(ROUNDS):
        call = WatchedCall(
            scopes=scopes,
            depth=blocks,
            digest=number,
            tags={"feature": "search", "team": "web"},
            pace=SpendPace(10**12, 86_400),
            at=1000 + number // 10,
        )
        begin = time.perf_counter_ns()
        assert watches.watch(call) is None
        took.append(time.perf_counter_ns() - begin)
    return took


def _digesting(size: int) -> list[int]:
    digests, took = PromptDigests(), []
    body = b'{"model":"gpt-4o","messages":[{"role":"user","content":"%b"}]}' % (b"some words " * (size // 11))
    request = parse_chat_request(body)
    assert isinstance(request, ChatRequest)
    for _ in range(ROUNDS // 10):
        begin = time.perf_counter_ns()
        digests.of(request, body)
        took.append(time.perf_counter_ns() - begin)
    return took


def _margins(folder: Path) -> None:
    print(
        "\n| trace | calls a minute | of one prompt among 64 | ten minutes' spend over the pace | trips |\n|---|---|---|---|---|"
    )
    for path in sorted(folder.glob("azure2023/*.csv")):
        calls = list(timed(read_trace(path)))
        total, seconds = sum(call.nanousd for call in calls), calls[-1].at + 1
        highest = run(calls, RULES, SpendPace(total * 86_400 // seconds, 86_400))
        slope = highest.spend_nanousd * 100 * seconds // (total * 600)
        tripped = "no" if highest.tripped is None else highest.tripped.rule
        print(f"| {path.name} | {highest.calls:,} | {highest.repetitions} | {slope / 100:.2f} | {tripped} |")
    for family in sorted(folder.glob("servegen/data/*/*")):
        rates = [busiest_window(path, 0, 0)[0] for path in family.glob("*-trace.csv")]
        print(f"| {family.parent.name}/{family.name}, {len(rates)} clients | {max(rates):,} | | | |")


if __name__ == "__main__":
    main()
