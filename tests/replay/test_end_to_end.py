"""`remit replay` and `remit demo` as a person runs them: real processes, real books, nothing left behind."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from remit.cli.rehearsal.cast import MISTAKES
from remit.cli.rehearsal.stage import Stage
from remit.testing.load import CONVERSATION, generate

TRACE = Path(__file__).resolve().parents[3] / "shared/data/traces/azure2023/AzureLLMInferenceTrace_conv.csv"


def remit(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs the command with its temporary files in a folder of the test's."""
    return subprocess.run(
        [sys.executable, "-m", "remit", *arguments],
        env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.fixture
def folder() -> Any:
    """Short, because sockets of the database lie below it."""
    with tempfile.TemporaryDirectory(prefix="r-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def leftovers(folder: Path) -> list[str]:
    """Files in the folder, and processes that were started with it."""
    running = [
        " ".join(process.info["cmdline"] or [])
        for process in psutil.process_iter(["cmdline", "environ"])
        if (process.info["environ"] or {}).get("TMPDIR") == str(folder)
    ]
    return [*(path.name for path in folder.iterdir()), *running]


def write_trace(path: Path, *, requests: int, seconds: float) -> None:
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for arrival in generate(CONVERSATION, requests=requests, seconds=seconds, seed=5):
        at = 15 + arrival.at_seconds
        stamp = f"2023-11-16 18:{int(at // 60):02}:{at % 60:010.7f}"
        lines.append(f"{stamp},{arrival.prompt_tokens},{arrival.output_tokens}")
    path.write_text("\n".join(lines))


def assert_books_agree(report: dict[str, Any]) -> None:
    books = report["books"]
    assert books["agree"] is True
    assert (books["difference_nanousd"], books["overspend_nanousd"], books["holds_that_differ"]) == (0, 0, [])
    assert books["vendor_nanousd"] == books["ledger_nanousd"] > 0
    assert report["all_ended"] is True
    ended = report["answered"] + report["refused"]
    ended += sum(report["failed_by_status"].values()) + sum(report["broken_by_reason"].values())
    assert ended == report["requests"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_small_trace_is_replayed_and_the_books_agree(folder: Path) -> None:
    """A trace in a file goes through real processes: caps bind, the books agree, the exit code is 0, nothing is left."""
    trace = folder / "trace.csv"
    write_trace(trace, requests=150, seconds=30)
    run = remit("replay", str(trace), "--speed", "10", "--seed", "3", "--json", folder=folder)
    assert run.returncode == 0, run.stderr
    report = msgspec.json.decode(run.stdout)
    assert report["requests"] == 150
    assert_books_agree(report)
    assert {row["code"] for row in report["refused_by"]} >= {"grant_exhausted", "rate_limited"}
    added = report["added_latency_ms"]
    assert added["pairs"] > 20 and added["failed_pairs"] == 0 and added["p50"] is not None
    assert report["books"]["direct_rows"] == added["pairs"]
    trace.unlink()
    assert leftovers(folder) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not TRACE.exists(), reason="the Azure trace is not on this machine")
def test_five_hundred_requests_of_a_real_trace(folder: Path) -> None:
    """Real gaps and token counts; the report for people names what has to be zero."""
    run = remit("replay", str(TRACE), "--speed", "40", "--limit", "500", folder=folder)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "500 requests" in run.stdout and "added latency p50" in run.stdout and "generator lag" in run.stdout
    lines = {line.split("  ")[0]: line for line in run.stdout.splitlines() if line}
    assert "$0.00" in lines["difference"] and "$0.00" in lines["overspend"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_demo_meets_every_kind_of_refusal(folder: Path) -> None:
    """A short demo meets each kind, uses the overdraft, delivers pages, and ends with books that agree."""
    run = remit("demo", "--requests", "600", "--seconds", "8", "--json", folder=folder)
    assert run.returncode == 0, run.stderr
    report = msgspec.json.decode(run.stdout)
    assert_books_agree(report)
    assert report["not_met"] == []
    met = {row["code"] for row in report["refused_by"]}
    assert met >= {"grant_exhausted", "grant_expired", "paced", "rate_limited", *(kind for kind, _, _ in MISTAKES)}
    assert {row["status"] for row in report["refused_by"] if row["code"] == "grant_exhausted"} == {402, 429}
    assert report["books"]["overdraft_nanousd"] > 0 and report["pages"] > 0
    assert leftovers(folder) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_tidies_up(folder: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM in the middle of the run end every process and remove every file."""
    process = subprocess.Popen(
        [sys.executable, "-m", "remit", "demo", "--seconds", "60"],
        env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    seen = ""
    while "remit is up" not in seen:
        line = process.stdout.readline()
        assert line, seen
        seen += line
    time.sleep(1.5)  # into the run, which takes a minute
    process.send_signal(number)
    rest, _ = process.communicate(timeout=200)
    assert process.returncode == 128 + number, rest
    assert "Traceback" not in rest
    deadline = time.monotonic() + 60
    while (left := leftovers(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


def test_a_bad_trace_is_a_message_and_exit_code_2(folder: Path) -> None:
    """Nothing is started for a trace that cannot be used; the line at fault is named."""
    trace = folder / "bad.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,374,many\n")
    run = remit("replay", str(trace), folder=folder)
    assert run.returncode == 2
    assert run.stderr.strip() == f"remit: {trace}, line 2: GeneratedTokens `many` is not a whole number up to 1,000,000"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_gateway_that_runs_already_is_replayed_to(folder: Path) -> None:
    """With --url the traffic goes there under the keys given; what cannot be compared from outside is null."""
    trace = folder / "trace.csv"
    write_trace(trace, requests=40, seconds=2)
    with Stage(seed=1) as stage:
        stage.apply({"acme": {"owner": "ada@acme.example", "class": "production", "expires": "2099-01-01"}})
        keys = [option for _ in range(2) for option in ("--key", stage.key("acme"))]
        run = remit("replay", str(trace), "--speed", "1", "--url", stage.gateway_url, *keys, "--json", folder=folder)
        assert run.returncode == 0, run.stderr
        report = msgspec.json.decode(run.stdout)
        assert (report["requests"], report["books"], report["all_ended"]) == (40, None, True)
        assert report["answered"] > 20
        assert stage.vendor.wait_idle().total_nanousd == report["told_to_callers_nanousd"] > 0
