"""`python -m bench.revocation`: how long a revocation takes to be known everywhere, with four gateways under load."""

import argparse
import asyncio
import http.client
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from bench.candidates import LEVELS, Candidate, StartError, start_gateway
from bench.machine import describe
from bench.measure import closed_loop, request_body
from remit.bootstrap import Authority, open_database
from remit.grants.keys import NewKey
from remit.grants.model import Actor, Problem
from remit.grants.ports import Remembered
from remit.grants.revocations import Revocation
from remit.grants.service import Authorship
from remit.settings import load_settings
from remit.store.postgres_revocations import Acknowledgements, waiting_for
from remit.store.postgres_writes import WriteUnit
from remit.testing.load.percentiles import Sample
from remit.testing.vendor_sim import VendorProcess

_ADMIN = Actor("bench@acme.example", is_admin=True)
_PATH = "/".join(LEVELS)
_PROBERS = 2
_TIMEOUT_SECONDS = 30.0


def main() -> int:
    """Runs the measurement; the exit code is 1 where a gateway did not hear of a revocation, or a call was served after it."""
    parser = argparse.ArgumentParser(prog="python -m bench.revocation", description=__doc__)
    parser.add_argument("--revocations", type=int, default=100, help="how many (100)")
    parser.add_argument("--gateways", type=int, default=4, help="gateway processes (4)")
    parser.add_argument("--connections", type=int, default=16, help="of the load beside, closed loop (16)")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="remit-bench-", ignore_cleanup_errors=True))
        )
        vendor = stack.enter_context(VendorProcess())
        try:
            candidate = start_gateway(stack, folder / "remit", vendor.url, options.gateways)
        except StartError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
        settings = load_settings(folder / "remit" / "remit.toml", environment={})
        authority = Authority(settings, open_database(settings))
        stop = stack.enter_context(_Load(candidate, options.connections))
        with Acknowledgements(authority.url) as acknowledgements:
            run = _Run(authority, candidate, acknowledgements)
            for _ in range(options.revocations):
                run.once()
            served = stop.ended()
    print(", ".join(f"{name} {value}" for name, value in describe().items()))
    print(f"{options.revocations} revocations, {options.gateways} gateways, {served:,} requests of the load beside\n")
    print(f"{'milliseconds':<52}{'p50':>8}{'p99':>8}{'most':>8}")
    for name, sample in run.samples.items():
        figures = [(sample.percentile(percent) or 0) * 1000 for percent in (50, 99, 100)]
        print(f"{name:<52}" + "".join(f"{figure:>8.1f}" for figure in figures))
    print(
        f"\ncalls served that were sent after the last gateway knew: {run.served_after}; revocations not known: {run.unknown}"
    )
    return 1 if run.served_after or run.unknown else 0


class _Load:
    """Requests by another key all the while, from a process of their own."""

    def __init__(self, candidate: Candidate, connections: int) -> None:
        self._here, there = multiprocessing.Pipe()
        arguments = (candidate.url, candidate.key, connections, there)
        self._process = multiprocessing.Process(target=_load, args=arguments, daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        assert self._here.recv() == "begun"
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        self._process.join()

    def ended(self) -> int:
        """How many requests were served."""
        self._here.send("stop")
        return int(self._here.recv())


def _load(url: str, key: str, connections: int, pipe: Any) -> None:
    count = 0
    pipe.send("begun")
    while not pipe.poll():
        count += asyncio.run(closed_loop(Candidate("load", url, key=key), connections, 2.0)).requests
    pipe.send(count)


class _Run:
    def __init__(self, authority: Authority, candidate: Candidate, acknowledgements: Acknowledgements) -> None:
        self._authority = authority
        self._candidate = candidate
        self._acknowledgements = acknowledgements
        self.samples = {
            "the write itself, to its commit": Sample(),
            "before the commit to the last gateway's word": Sample(),
            "before the commit to the first refusal a caller sees": Sample(),
        }
        self.served_after = self.unknown = 0

    def once(self) -> None:
        """One key is used by callers of its own and revoked; a new one for each time."""
        made = self._authority.keys().create(_PATH, "victim", _ADMIN)
        assert isinstance(made, NewKey), made
        callers = [_Caller(self._candidate.url, made.text) for _ in range(_PROBERS)]
        for caller in callers:
            caller.thread.start()
        while not all(caller.served for caller in callers):
            time.sleep(0.005)
        started = time.monotonic()
        before_commit, revision = self._revoke(made.key.id)
        committed = time.monotonic()
        states = self._acknowledgements.wait(revision, _TIMEOUT_SECONDS)
        known = time.monotonic()
        self.unknown += bool(waiting_for(states, revision))
        for caller in callers:
            caller.thread.join()
        written, last, first = self.samples.values()
        written.add(committed - started)
        last.add(known - before_commit)
        first.add(min(caller.refused_at for caller in callers) - before_commit)
        self.served_after += sum(sent > known for caller in callers for sent in caller.served)

    def _revoke(self, key_id: str) -> tuple[float, int]:
        def do(unit: WriteUnit) -> tuple[tuple[float, int], dict[str, int]] | Problem:
            service = self._authority.revocations_over(unit)
            subject = service.find(f"key:{key_id}")
            assert not isinstance(subject, Problem), subject
            by = Authorship(actor=_ADMIN, reason="bench", idempotency_key=key_id)
            done = service.revoke(subject, by, cut=False)
            assert isinstance(done, Revocation), done
            return (time.monotonic(), done.tree_revision), {}

        answer = self._authority.writes.once(os.urandom(8).hex(), {"actor": _ADMIN.name, "operation": "revoke"}, do)
        assert not isinstance(answer, Problem | Remembered), answer
        return answer


class _Caller:
    """Sends one request after the other until one is refused, each over a connection of its own: to any gateway."""

    def __init__(self, url: str, key: str) -> None:
        self._url = urlsplit(url)
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        self.served: list[float] = []
        self.refused_at = 0.0
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        body = request_body(stream=False)
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            connection = http.client.HTTPConnection(self._url.netloc, timeout=_TIMEOUT_SECONDS)
            sent_at = time.monotonic()
            try:
                connection.request("POST", f"{self._url.path}/chat/completions", body, self._headers)
                response = connection.getresponse()
                response.read()
            finally:
                connection.close()
            if response.status == 401:
                self.refused_at = time.monotonic()
                return
            self.served.append(sent_at)
        raise TimeoutError("no call was refused after the revocation")


if __name__ == "__main__":
    sys.exit(main())
