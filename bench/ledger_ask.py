"""What a large ledger is asked: ten reports, from the sums and from the entries, and commands as whole processes."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.machine import peak_memory

By = tuple[str, ...]
Only = Mapping[str, Sequence[str]]
REPORTS: tuple[tuple[By, dict[str, list[str]]], ...] = (
    (("team",), {}),
    (("team", "month"), {}),
    (("grant",), {}),
    (("model",), {}),
    (("class", "environment"), {}),
    (("vendor", "model", "month"), {}),
    (("owner",), {}),
    (("day",), {"team": ["team-3"]}),
    (("feature",), {"team": ["team-1"], "environment": ["production"]}),
    (("billing_month", "kind"), {}),
)
COMMANDS = (
    ("ledger", "total", "--quarter"),
    ("ledger", "units", "--by", "model"),
    ("ledger", "forecast"),
    ("ledger", "coverage", "--tags", "team,feature"),
    ("ledger", "budget"),
)
_TIMES, _PATIENCE, _LOOK_EVERY = 5, 120.0, 0.005
_TAGS = {"team", "feature", "environment"}


def ask_reports(work: Callable[[By, Only], Any]) -> tuple[str, dict[By, float]]:
    """p50 and p95 of the ten reports, asked five times over or for two minutes, whichever is less; the median of each."""
    taken: dict[By, list[float]] = {by: [] for by, _ in REPORTS}
    begun, rounds = time.monotonic(), 0
    while rounds < _TIMES and (rounds == 0 or time.monotonic() - begun < _PATIENCE):
        for by, only in REPORTS:
            asked = time.monotonic()
            work(by, only)
            taken[by].append(time.monotonic() - asked)
        rounds += 1
    ordered = sorted(one for found in taken.values() for one in found)
    p50, p95 = (ordered[min(len(ordered) * share // 100, len(ordered) - 1)] for share in (50, 95))
    told = f"{p50 * 1000:,.0f} ms; {p95 * 1000:,.0f} ms ({len(ordered)} answers)"
    return told, {by: sorted(found)[len(found) // 2] for by, found in taken.items()}


def statement(by: By, only: Only) -> str:
    """A report as a question in SQL over all entries."""
    columns = ", ".join(f"{_column(name)} AS {name}" for name in by)
    where = " AND ".join(f"{_column(name)} IN ({', '.join(map(repr, values))})" for name, values in only.items())
    return (
        f"SELECT {columns}, sum(amount_nanousd), sum(tokens), sum(requests) FROM entries"
        f"{' WHERE ' + where if where else ''} GROUP BY ALL ORDER BY 2 DESC"
    )


@dataclass(frozen=True, slots=True)
class Ran:
    """A command from its start to its end: seconds, those of the processor that it took itself, MB at most, what it printed."""

    seconds: float
    processor: float
    memory: int
    printed: str


def run_command(folder: Path, now: datetime, command: Sequence[str]) -> Ran:
    """`remit` with these words over the books in a folder, at that instant. Raises RuntimeError where it fails."""
    whole = [sys.executable, "-m", "remit", *command, "--data-dir", str(folder)]
    # With its modules compiled, as a package has them that was installed; what runs first here compiles them.
    environment = {**os.environ, "REMIT_CLOCK_AT": now.isoformat(), "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    most = ended = 0
    with tempfile.TemporaryFile("w+") as printed:
        begun = time.monotonic()
        process = subprocess.Popen(whole, cwd=folder, env=environment, stdout=printed)
        # What the kernel says of the memory of a child that ended begins with that of its parent: it is looked at while it runs.
        while not ended:
            most = max(most, peak_memory(process.pid))
            time.sleep(_LOOK_EVERY)
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
        taken = time.monotonic() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"`remit {' '.join(command)}` ended with {process.returncode}")
        printed.seek(0)
        return Ran(taken, used.ru_utime + used.ru_stime, most // 10**6, printed.read())


def time_command(folder: Path, now: datetime, command: Sequence[str]) -> str:
    """Of five runs after a first one: the median, the slowest, the median of its processor time, the most memory."""
    run_command(folder, now, command)
    runs = [run_command(folder, now, command) for _ in range(_TIMES)]
    seconds, processor = (sorted(getattr(one, name) for one in runs) for name in ("seconds", "processor"))
    middle = _TIMES // 2
    return (
        f"{seconds[middle]:.2f} s; {seconds[-1]:.2f} s; {processor[middle]:.2f} s; {max(one.memory for one in runs)} MB"
    )


def _column(name: str) -> str:
    if name in _TAGS:
        return f"tags ->> '$.{name}'"
    return {
        "model": "coalesce(model_served, model_requested)",
        "grant": "grant_path",
        "day": "date_trunc('day', held_at)",
    }.get(name, name)
