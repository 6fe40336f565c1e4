"""`python -m bench`: one interleaved run, a table, and JSON on request."""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from bench.candidates import Candidate, StartError, start_gateway, start_nginx, start_wire
from bench.machine import describe, pin, usable_cores
from bench.measure import BODY_BYTES, CHUNK_MILLISECONDS, STREAM_TOKENS, Result, closed_loop, open_at_rate
from bench.report import conclusions, render, summary
from remit.testing.vendor_sim import VendorProcess

Measure = Callable[[Candidate], Awaitable[Result]]


class _PreciseLoop(uvloop.Loop):
    """uvloop's own time moves in milliseconds, which is most of what is measured here."""

    def time(self) -> float:
        return time.monotonic()


def main() -> int:
    """Runs the benchmark; the exit code is 1 where a candidate did not start or any request went wrong."""
    options = _options()
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="remit-bench-", ignore_cleanup_errors=True))
        )
        vendor = stack.enter_context(VendorProcess())
        machine = describe()
        try:
            candidates: dict[str, Candidate | None] = {
                "direct": Candidate("direct", vendor.base_url),
                "nginx": start_nginx(stack, folder / "nginx", vendor.url),
                "wire only": start_wire(stack),
                "gateway": start_gateway(stack, folder / "remit", vendor.url),
            }
        except StartError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
        pinning = _pin(candidates, vendor.pid)
        with asyncio.Runner(loop_factory=_PreciseLoop) as runner:
            phases = runner.run(_run(options, candidates))
    document = {
        "machine": machine,
        "pinning": pinning,
        "rounds": options.rounds,
        "what": f"requests of {BODY_BYTES} bytes, five grants with a limit each, embedded PostgreSQL, simulated vendor",
        "phases": phases,
        "conclusions": conclusions(phases),
    }
    print(render(document))
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(document)) + b"\n")
    wrong = any(one["errors"] for phase in phases for one in phase["candidates"].values() if one is not None)
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds of each phase (3)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (3)")
    parser.add_argument("--rate", type=int, default=100, help="requests per second of the open loop (100)")
    parser.add_argument("--streams", type=int, default=64, help="concurrent streams (64)")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    return parser.parse_args()


async def _run(options: argparse.Namespace, candidates: dict[str, Candidate | None]) -> list[dict[str, Any]]:
    seconds, rate, streams = options.seconds, options.rate, options.streams
    offered = streams * 1000 // CHUNK_MILLISECONDS
    plan: list[tuple[dict[str, Any], Measure]] = [
        (
            {"kind": "closed", "connections": connections, "title": f"{connections} at a time, closed loop:"},
            lambda one, connections=connections: closed_loop(one, connections, seconds),  # type: ignore[misc]
        )
        for connections in (1, 32)
    ]
    plan.append(
        (
            {"kind": "open", "rate": rate, "title": f"{rate} requests/s, open loop (latency from when each was due):"},
            lambda one: open_at_rate(one, rate, seconds),
        )
    )
    title = (
        f"{streams} concurrent streams of {STREAM_TOKENS} tokens, one each {CHUNK_MILLISECONDS} ms "
        f"(at most {offered:,} chunks/s offered; latency of whole streams):"
    )
    plan.append(
        (
            {"kind": "streams", "streams": streams, "title": title},
            lambda one: closed_loop(one, streams, seconds, stream=True),
        )
    )
    return [await _phase(facts, measure, candidates, options.rounds) for facts, measure in plan]


async def _phase(
    facts: dict[str, Any], measure: Measure, candidates: dict[str, Candidate | None], rounds: int
) -> dict[str, Any]:
    """One phase: every candidate in turn, and that several times, so that a slow minute meets all of them."""
    stream = facts["kind"] == "streams"
    results: dict[str, list[Result]] = {name: [] for name in candidates}
    for number in range(rounds):
        for name, candidate in candidates.items():
            if candidate is not None and (candidate.streams or not stream):
                _say(f"\r{facts['title'][:60]:<60} round {number + 1}: {name:<12}")
                results[name].append(await measure(candidate))
                await asyncio.sleep(0.1)
    _say("\r" + " " * 90 + "\r")
    found = {name: summary(rounds, stream=stream) if rounds else None for name, rounds in results.items()}
    return {**facts, "candidates": found}


def _say(progress: str) -> None:
    """On a terminal only: elsewhere nobody watches."""
    if sys.stderr.isatty():
        print(progress, end="", file=sys.stderr, flush=True)


def _pin(candidates: dict[str, Candidate | None], vendor: int) -> str:
    """Puts what is measured and what measures on cores of their own; says how."""
    cores = usable_cores()
    mine = [os.getpid(), vendor]
    measured = [(name, pids) for one in candidates.values() if one for name, pids in one.processes.items()]
    if len(cores) < 2:
        return "nothing is pinned: one core, or a system without pinning; all candidates share it with the load"
    if len(cores) < 4:
        pin(mine, cores[1:2])
        for _, pids in measured:
            pin(pids, cores[:1])
        return f"pinned: what is measured, PostgreSQL included, on core {cores[0]}; load and vendor on core {cores[1]}"
    pin([os.getpid()], cores[2:3])
    pin([vendor], cores[3:4])
    for name, pids in measured:
        pin(pids, cores[1:2] if name == "postgresql" else cores[:1])
    return f"pinned: gateway or proxy on core {cores[0]}, PostgreSQL on {cores[1]}, load on {cores[2]}, vendor on {cores[3]}"


if __name__ == "__main__":
    sys.exit(main())
