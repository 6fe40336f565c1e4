"""The processes of a rehearsal: vendor, database, authority and gateway, in a folder that goes away with them."""

import contextlib
import os
import queue
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from remit.bootstrap import Authority
from remit.cli.codes import EXIT_DIFFERENCES, CommandError
from remit.cli.rehearsal.pages import PageReceiver
from remit.grants.keys import NewKey
from remit.grants.manifest import Manifest, parse_manifest
from remit.grants.model import Actor
from remit.grants.plan import make_plan
from remit.grants.service import Authorship, NotWritten
from remit.grants.tree import Tree
from remit.settings import (
    ApiSettings,
    BreakerSettings,
    GatewaySettings,
    NotifySettings,
    Settings,
    VendorSettings,
    encode_settings,
)
from remit.testing.vendor_sim import VendorProcess

_ADMIN = Actor("ada@acme.example", is_admin=True)
_READY_SECONDS = 60.0
_STOP_SECONDS = 60.0


class Stage:
    """Everything a rehearsal needs, started on entry and gone after exit, whatever happens between.

    `gateway_url` ends in `/v1`; `log` is the file with what the authority and the gateway say.
    """

    def __init__(self, *, seed: int) -> None:
        self._seed = seed
        self._exit = contextlib.ExitStack()
        self.database_url = ""
        self.gateway_url = ""

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException as error:
            self._leave(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        if isinstance(error, KeyboardInterrupt):
            print("stopping", file=sys.stderr, flush=True)
        with _uninterrupted():
            self._exit.close()

    def _start(self) -> None:
        folder = self._exit.enter_context(tempfile.TemporaryDirectory(prefix="remit-", ignore_cleanup_errors=True))
        self.folder = Path(folder)
        self.log = self.folder / "remit.log"
        self.pages = self._exit.enter_context(PageReceiver())
        self.vendor = self._exit.enter_context(VendorProcess(seed=self._seed))
        self.settings = _settings(self.folder, self.vendor.url, self.pages.url)
        up = _UpProcess(self.settings, self.log)
        self._exit.callback(up.stop)
        self.database_url, self.gateway_url = up.wait_ready()
        self.authority = Authority(self.settings, self.database_url)

    def apply(self, grants: Mapping[str, Any]) -> None:
        """Brings grants into being, as `remit apply` does. Raises CommandError with the plan's problems."""
        manifest = parse_manifest({"version": 1, "grants": grants})
        if not isinstance(manifest, Manifest):
            raise _not_applied([problem.detail for problem in manifest])
        with self.authority.repository.read() as reads:
            tree = Tree(reads.load_tree())
        plan = make_plan(manifest, tree, self.authority.clock.now())
        by = Authorship(actor=_ADMIN, reason="rehearsal", idempotency_key=secrets.token_hex(8))
        answer = self.authority.grants.apply(plan, by)
        if isinstance(answer, NotWritten):
            raise _not_applied([problem.detail for problem in answer.problems])

    def key(self, path: str, *, revoked: bool = False) -> str:
        """A new access key for a grant; with `revoked`, one that was revoked again. Raises CommandError."""
        service = self.authority.keys()
        made = service.create(path, "rehearsal", _ADMIN)
        if not isinstance(made, NewKey):
            raise _not_applied([made.detail])
        if revoked:
            service.revoke(made.key.id, _ADMIN)
        return made.text

    def log_end(self) -> str:
        """The last lines of the log, for when something went wrong."""
        return _end_of(self.log)


class _UpProcess:
    """`remit.cli.rehearsal.up_process`: in a group of its own, so that Ctrl-C reaches it through us only."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self._log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "remit.cli.rehearsal.up_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                process_group=0,
            )
        assert self._process.stdin is not None
        self._process.stdin.write(encode_settings(settings) + b"\n")
        self._process.stdin.flush()
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def wait_ready(self) -> tuple[str, str]:
        """The database's URL and the gateway's, when both answer. Raises CommandError with the end of the log."""
        try:
            url, ready = self._lines.get(timeout=_READY_SECONDS), self._lines.get(timeout=_READY_SECONDS)
        except queue.Empty:
            url = ready = ""
        gateway_url = ready.rpartition(" ")[2]
        if not gateway_url.startswith("http"):
            raise CommandError(f"the gateway did not start: {_end_of(self._log)}", EXIT_DIFFERENCES)
        return url, gateway_url

    def stop(self) -> None:
        """An orderly end: calls under way are settled, the database is stopped."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line.decode(errors="replace").strip())
        self._lines.put("")
        self._lines.put("")


def _settings(folder: Path, vendor_url: str, webhook_url: str) -> Settings:
    return Settings(
        data_dir=folder / "data",
        gateway=GatewaySettings(listen="127.0.0.1:0", request_seconds=60, hold_seconds=70, drain_seconds=10),
        api=ApiSettings(listen="127.0.0.1:0"),
        notify=NotifySettings(webhook_url=webhook_url),
        # Here an hour passes in minutes, and a probe says the same over and over.
        breaker=BreakerSettings(enabled=False),
        vendors={"openai": VendorSettings(base_url=vendor_url)},
        sweep_seconds=2.0,
        renew_url="https://remit.acme.example/grants/{path}",
    )


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """A second Ctrl-C does not stop the tidying up after the first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:].strip() or "it said nothing"


def _not_applied(details: list[str]) -> CommandError:
    return CommandError(f"the rehearsal's grants were refused: {'; '.join(details)}", EXIT_DIFFERENCES)
