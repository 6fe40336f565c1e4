"""The vendor in a process of its own, as a gateway would meet it; it outlives gateways that are killed."""

import http.client
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import msgspec

from remit.testing.vendor_sim.books import BooksSummary, Row, RowsPage

_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 5
_ADMIN_SECONDS: Final = 30


class VendorError(Exception):
    """The vendor did not start, or did not accept what it was told; the message is its own."""


class VendorProcess:
    """A running `python -m remit.testing.vendor_sim`, driven from synchronous code.

    Starts at once and is stopped by `stop()` or at the end of a `with`; it ends by itself when this process dies.
    `url` is its root, `base_url` what an SDK takes.

        @pytest.fixture(scope="session")
        def vendor():
            with VendorProcess(seed=1) as vendor:
                yield vendor
    """

    def __init__(
        self, *, prices: Path | None = None, seed: int | None = None, api_key: str | None = None, port: int = 0
    ) -> None:
        command = [sys.executable, "-m", "remit.testing.vendor_sim", "--port", str(port), "--until-stdin-ends"]
        if prices is not None:
            command += ["--prices", str(prices)]
        if seed is not None:
            command += ["--seed", str(seed)]
        environment = os.environ if api_key is None else {**os.environ, "REMIT_SIM_API_KEY": api_key}
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        try:
            self.url: str = _first_line(self._process)
        except VendorError:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """What an OpenAI SDK takes as its `base_url`."""
        return f"{self.url}/v1"

    @property
    def pid(self) -> int:
        return self._process.pid

    def books(self) -> BooksSummary:
        """What the books add up to now."""
        return msgspec.json.decode(self.get("/sim/books"), type=BooksSummary)

    def rows(self, after: int = 0) -> list[Row]:
        """All rows with a sequence number above `after`."""
        rows: list[Row] = []
        while True:
            page = msgspec.json.decode(self.get(f"/sim/books/rows?after={after}"), type=RowsPage)
            if not page.rows:
                return rows
            rows.extend(page.rows)
            after = page.next_after

    def statement_csv(self) -> str:
        """The statement as the vendor would send it."""
        return self.get("/sim/books.csv").decode()

    def inflight(self) -> int:
        """How many calls the vendor is working on."""
        return self.books().inflight

    def script(self, **keys: Any) -> None:
        """Set the default behaviour; keys that are not named go back to their defaults. Raises VendorError."""
        self.post("/sim/script", msgspec.json.encode(keys))

    def release(self) -> int:
        """Let every call go on that waits out its latency or pauses in its stream; how many those were."""
        released: int = msgspec.json.decode(self.post("/sim/release", b""))["released"]
        return released

    def reset(self) -> None:
        """Begin again: empty books and the default script."""
        self.post("/sim/reset", b"")

    def wait_paused(self, calls: int = 1, timeout_seconds: float = 60) -> None:
        """Wait until so many calls wait to be released; raises TimeoutError."""
        deadline = time.monotonic() + timeout_seconds
        while (paused := msgspec.json.decode(self.get("/sim/inflight"))["paused"]) != calls:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{paused} calls are paused at the vendor, not {calls}")
            time.sleep(0.01)

    def wait_idle(self, timeout_seconds: float = 60) -> BooksSummary:
        """Wait until no call is running and return the books; raises TimeoutError."""
        deadline = time.monotonic() + timeout_seconds
        while (books := self.books()).inflight:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{books.inflight} calls still running at the vendor")
            time.sleep(0.01)
        return books

    def stop(self) -> None:
        """End the process; safe to call again."""
        process = self._process
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def get(self, target: str) -> bytes:
        """The body of an admin answer; raises VendorError for any status but 200."""
        return self._ask("GET", target, None)

    def post(self, target: str, body: bytes) -> bytes:
        """The body of an admin answer; raises VendorError for any status but 200."""
        return self._ask("POST", target, body)

    def _ask(self, method: str, target: str, body: bytes | None) -> bytes:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=_ADMIN_SECONDS)
        try:
            connection.request(method, target, body)
            response = connection.getresponse()
            answer = response.read()
            if response.status != 200:
                raise VendorError(f"{method} {target}: {response.status} {answer.decode(errors='replace')}")
            return answer
        finally:
            connection.close()


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    reader = threading.Thread(target=lambda out: lines.put(out.readline()), args=(process.stdout,), daemon=True)
    reader.start()
    try:
        line = lines.get(timeout=_START_SECONDS).strip()
    except queue.Empty:
        raise VendorError(f"the vendor did not start within {_START_SECONDS} s") from None
    if not line.startswith("http://"):
        raise VendorError(f"the vendor did not start: exit code {process.wait(_STOP_SECONDS)}")
    return line
