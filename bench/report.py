"""Medians of the rounds, as a table and as JSON."""

from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from bench.measure import Result

Rounds = Sequence[Result]


def summary(rounds: Rounds, *, stream: bool = False) -> dict[str, Any]:
    """The medians of one candidate's rounds; None for what nobody measured."""
    errors: Counter[str] = Counter()
    for one in rounds:
        errors += one.errors
    names = sorted({name for one in rounds for name in one.cpu_us})
    cpu = {name: _median(rounds, lambda one, name=name: one.cpu_us.get(name, 0.0)) for name in names}  # type: ignore[misc]
    found: dict[str, Any] = {
        "requests": sum(one.requests for one in rounds),
        "errors": dict(errors),
        "per_second": _median(rounds, lambda one: one.per_second),
        "p50_us": _median(rounds, lambda one: one.latency_us(50)),
        "p99_us": _median(rounds, lambda one: one.latency_us(99)),
        "cpu_us": cpu,
    }
    if stream:
        found["chunks_per_second"] = _median(rounds, lambda one: one.events_per_second)
    return found


def _median(rounds: Rounds, value: Callable[[Result], float]) -> float:
    return round(median(value(one) for one in rounds), 1)


def render(document: dict[str, Any]) -> str:
    """The document for people."""
    machine = document["machine"]
    lines = [
        (
            f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}, "
            f"nginx {machine['nginx'] or 'not installed'}, load {machine['load_average_before']} before"
        ),
        document["pinning"],
        f"{document['rounds']} interleaved rounds, medians; {document['what']}",
        "",
    ]
    for phase in document["phases"]:
        lines += [phase["title"], *_table(phase), ""]
    lines += document["conclusions"]
    return "\n".join(lines)


def _table(phase: dict[str, Any]) -> list[str]:
    stream = phase["kind"] == "streams"
    unit = "chunks/s" if stream else "req/s"
    head = f"  {'':<12}{unit:>10}{'p50 us':>10}{'p99 us':>10}{'+p50':>9}{'+p99':>9}   processor us per "
    rows = [head + ("chunk" if stream else "request")]
    direct = phase["candidates"]["direct"]
    for name, found in phase["candidates"].items():
        if found is None:
            rows.append(f"  {name:<12}{'not installed' if name == 'nginx' else '-':>10}")
            continue
        rate = found["chunks_per_second" if stream else "per_second"]
        added = ["" if name == "direct" else f"{found[key] - direct[key]:+,.0f}" for key in ("p50_us", "p99_us")]
        cpu = ", ".join(f"{part} {value:,.0f}" for part, value in found["cpu_us"].items())
        errors = "".join(f"; {count} x {what}" for what, count in found["errors"].items())
        rows.append(
            f"  {name:<12}{rate:>10,.0f}{found['p50_us']:>10,.0f}{found['p99_us']:>10,.0f}"
            f"{added[0]:>9}{added[1]:>9}   {cpu}{errors}"
        )
    return rows


def conclusions(phases: list[dict[str, Any]]) -> list[str]:
    """Requests per second and core, and how far the database keeps the gateway from its own wire."""
    busy = next(phase for phase in phases if phase["kind"] == "closed" and phase["connections"] > 1)
    lines = [f"One core, fully used, would do (1 s / processor time per request, {busy['title'].rstrip(':')}):"]
    found = {name: one for name, one in busy["candidates"].items() if one is not None and one["cpu_us"]}
    for name, one in found.items():
        alone = {part: value for part, value in one["cpu_us"].items() if part != "authority" and value > 0}
        if not alone:
            continue
        parts = [f"{part} alone {1e6 / value:,.0f}/s" for part, value in alone.items()]
        if len(alone) > 1:
            parts.append(f"together {1e6 / sum(alone.values()):,.0f}/s")
        lines.append(f"  {name:<12}" + ", ".join(parts))
    gateway = found.get("gateway", {}).get("cpu_us", {})
    wire = found.get("wire only", {}).get("cpu_us", {})
    if gateway.get("gateway") and gateway.get("postgresql") and wire.get("wire"):
        total = gateway["gateway"] + gateway["postgresql"]
        lines.append(
            f"Central mode asks the database twice for each request: PostgreSQL takes {gateway['postgresql'] / total:.0%} of "
            f"the {total:,.0f} us, and all of it is {total / wire['wire']:,.1f} times what the wire alone takes."
        )
    return lines
