"""A whole Remit for tests: `remit up` in processes of its own over a real PostgreSQL, and a vendor simulator beside it."""

import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import openai
import psutil
import psycopg

from remit.bootstrap import Authority, open_database
from remit.grants.keys import NewKey
from remit.grants.manifest import Manifest, parse_manifest
from remit.grants.model import Actor
from remit.grants.plan import make_plan
from remit.grants.service import Authorship, NotWritten
from remit.grants.tree import Tree
from remit.ledger.service import check_books
from remit.settings import load_settings
from remit.testing.vendor_sim import VendorProcess
from tests.store.database import leave_embedded

ADMIN = Actor("ada@acme.example", is_admin=True)
READY_SECONDS = 60

# What the simulator charges for its made-up models, as an operator would write it down (see its own price list).
SIM_PRICES = """
[[prices]]
vendor = "openai"
model = "sim-dime"
input = "0"
output = "100000"
context_tokens = 128000
max_output_tokens = 16384

[[prices]]
vendor = "openai"
model = "sim-small"
input = "0.10"
cache_read = "0.05"
output = "0.40"
context_tokens = 128000
max_output_tokens = 16384
service_tiers = { flex = { input = "0.05", cache_read = "0.025", output = "0.20" }, priority = { input = "0.20", cache_read = "0.10", output = "0.80" } }

[[prices]]
vendor = "openai"
model = "sim-tiered"
input = "1"
cache_read = "0.1"
cache_write = "1.25"
output = "4"
context_tokens = 1000000
max_output_tokens = 16384
tiers = [{ above_input_tokens = 200000, input = "2", cache_read = "0.2", cache_write = "2.5", output = "8" }]

[[prices]]
vendor = "openai"
model = "sim-cache-write"
input = "4"
cache_read = "0.4"
cache_write = "5"
output = "20"
context_tokens = 1000000
max_output_tokens = 16384

[[prices]]
vendor = "openai"
model = "sim-fractional"
input = "0.000123457"
cache_read = "0.000000001"
output = "0.000987653"
context_tokens = 128000
max_output_tokens = 16384
"""


# Most tests say the same thing over and over, and mean it.
UNWATCHED = "\n[breaker]\nenabled = false\n"


class System(AbstractContextManager["System"]):
    """`settings` is TOML appended to the settings file; `gateway` are keys of its `[gateway]` table.

    `vendor_url` is where the gateway reaches the vendor, where that is not the vendor's own URL.
    """

    def __init__(
        self,
        *,
        gateway: Mapping[str, Any] | None = None,
        settings: str = SIM_PRICES,
        environment: Mapping[str, str] | None = None,
        vendor: VendorProcess | None = None,
        vendor_url: str | None = None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="remit-", ignore_cleanup_errors=True)
        self.folder = Path(self._folder.name)
        self.vendor = vendor or VendorProcess()
        self._owns_vendor = vendor is None
        self.port = free_port()
        self._environment = {**os.environ, **(environment or {})}
        table = {"listen": f"127.0.0.1:{self.port}", "drain_seconds": 5, **(gateway or {})}
        self.config = self.folder / "remit.toml"
        self.config.write_text(
            f'data_dir = "{self.folder / "data"}"\nsweep_seconds = 0.5\n\n'
            f'[api]\nlisten = "127.0.0.1:{free_port()}"\n\n'
            f'[vendors.openai]\nbase_url = "{vendor_url or self.vendor.url}"\n\n[gateway]\n'
            + "".join(f"{name} = {_toml(value)}\n" for name, value in table.items())
            + settings
            + ("" if "[breaker]" in settings else UNWATCHED)
        )
        self.settings = load_settings(self.config, environment=self._environment)
        self.url = open_database(self.settings)
        self.authority = Authority(self.settings, self.url)
        self.log = self.folder / "remit.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._owns_vendor:
            self.vendor.stop()
        if self.settings.database_url is None:
            leave_embedded(self.settings.data_dir)
        self._folder.cleanup()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Starts `remit up` and waits until all of it serves: one gateway that dies before that ends the others."""
        with self.log.open("ab") as log:
            begin = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "remit", "up", "--config", str(self.config)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self._environment,
            )
        self.wait_ready()
        self._wait_up(begin)

    def _wait_up(self, begin: int, timeout_seconds: float = READY_SECONDS) -> None:
        """Waits for the line that says so, after that place of the log."""
        deadline = time.monotonic() + timeout_seconds
        while b"remit is up: " not in self.log.read_bytes()[begin:]:
            assert self._process is not None and self._process.poll() is None, self.log.read_text()[-4000:]
            assert time.monotonic() < deadline, self.log.read_text()[-4000:]
            time.sleep(0.02)

    def wait_ready(self, timeout_seconds: float = READY_SECONDS) -> None:
        """Waits until the gateway accepts connections."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            assert self._process is not None and self._process.poll() is None, self.log.read_text()[-4000:]
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"the gateway did not become ready:\n{self.log.read_text()[-4000:]}")

    def stop(self) -> int:
        """Stops `remit up` in an orderly way; its exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(timeout=60)
        self._process = None
        return code

    def gateway_pids(self) -> list[int]:
        """The gateway's processes, without their parent."""
        assert self._process is not None
        children = psutil.Process(self._process.pid).children()
        return [child.pid for child in children if "remit.cli.gateway_process" in " ".join(child.cmdline())]

    def kill_gateway(self) -> None:
        """Does kill -9 to every gateway process; their parent starts new ones."""
        for pid in self.gateway_pids():
            os.kill(pid, signal.SIGKILL)

    def apply(self, grants: Mapping[str, Any], *, reason: str = "test") -> None:
        """Brings grants into being: the `grants` part of a grants file. Fails with the plan's problems."""
        answer = self.try_apply(grants, reason=reason)
        assert not isinstance(answer, NotWritten), [problem.detail for problem in answer.problems]

    def try_apply(self, grants: Mapping[str, Any], *, reason: str = "test", actor: Actor = ADMIN) -> Any:
        """The same, answering what the service answers."""
        manifest = parse_manifest({"version": 1, "grants": grants})
        assert isinstance(manifest, Manifest), manifest
        with self.authority.repository.read() as reads:
            tree = Tree(reads.load_tree())
        plan = make_plan(manifest, tree, self.authority.clock.now())
        by = Authorship(actor=actor, reason=reason, idempotency_key=os.urandom(8).hex())
        return self.authority.grants.apply(plan, by)

    def key(self, path: str, name: str = "test", **more: Any) -> str:
        """A new access key for a grant."""
        made = self.authority.keys().create(path, name, ADMIN, **more)
        assert isinstance(made, NewKey), made
        return made.text

    def client(self, key: str, **more: Any) -> openai.OpenAI:
        """The official SDK, changed in nothing but base URL and key (and, for tests that count calls, no retries)."""
        return openai.OpenAI(base_url=self.base_url, api_key=key, **{"max_retries": 0, **more})

    def async_client(self, key: str, **more: Any) -> openai.AsyncOpenAI:
        """The same for asyncio."""
        return openai.AsyncOpenAI(base_url=self.base_url, api_key=key, **{"max_retries": 0, **more})

    def sql(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Reads the database as its superuser; for looking only."""
        with psycopg.connect(self.url, autocommit=True, options="-c search_path=remit") as connection:
            return connection.execute(query.encode(), parameters).fetchall()

    def spent(self, path: str) -> int:
        """Nano-USD the ledger has for a grant and everything below it."""
        ((total,),) = self.sql(
            "SELECT coalesce(sum(amount_nanousd), 0)::bigint FROM entries AS e JOIN grants AS g ON g.path = %s"
            " WHERE is_spend(e.kind) AND g.id = ANY (e.node_ids)",
            path,
        )
        return int(total)

    def open_holds(self) -> int:
        ((count,),) = self.sql("SELECT count(*) FROM holds WHERE state = 'open'")
        return int(count)

    def wait_until_no_hold_is_open(self, timeout_seconds: float = 60) -> None:
        deadline = time.monotonic() + timeout_seconds
        while self.open_holds():
            assert time.monotonic() < deadline, f"{self.open_holds()} holds are still open"
            time.sleep(0.05)

    def assert_books_agree(self) -> None:
        """The doctor finds nothing (I5, I6, I7, I21 and the hashes)."""
        found = [difference for check in check_books(self.authority.ledger) for difference in check.differences]
        assert not found, found

    def reconcile_with_vendor(self, path: str) -> list[str]:
        """Applies the vendor's statement to what a grant has in suspense, and proves that both books agree.

        Afterwards every call has in the ledger exactly what the vendor has for it, in money and in tokens. The vendor's
        books must hold only calls below the grant. Answers the ids of the holds that evidence corrected.
        """
        self.wait_until_no_hold_is_open()
        self.vendor.wait_idle()
        rows = {row.idempotency_key: row for row in self.vendor.rows()}
        waiting = self.sql(
            "SELECT e.hold_id FROM entries AS e JOIN grants AS g ON g.path = %s WHERE e.kind = 'suspense'"
            " AND g.id = ANY (e.node_ids) AND NOT EXISTS (SELECT FROM entries AS c WHERE c.corrects = e.id)",
            path,
        )
        evidence = []
        for (hold_id,) in waiting:
            row = rows.get(hold_id)
            entry = {"usage_source": "vendor", "note": "the vendor's statement"}
            amount, tokens = (row.amount_nanousd, row.prompt_tokens + row.completion_tokens) if row else (0, 0)
            evidence.append({"hold_id": hold_id, "usd": amount, "tokens": tokens, "entry": entry})
        if evidence:
            assert self.authority.care.apply_evidence(evidence) == ["corrected"] * len(evidence)
        billed = {key: (row.amount_nanousd, row.prompt_tokens + row.completion_tokens) for key, row in rows.items()}
        booked = self._booked_by_hold(path)
        assert {key: value for key, value in booked.items() if value != (0, 0)} == billed
        assert self.spent(path) == self.vendor.books().total_nanousd
        self.assert_books_agree()
        return [hold_id for (hold_id,) in waiting]

    def _booked_by_hold(self, path: str) -> dict[str | None, tuple[int, int]]:
        rows = self.sql(
            "SELECT e.hold_id, sum(e.amount_nanousd)::bigint, sum(e.tokens)::bigint FROM entries AS e"
            " JOIN grants AS g ON g.path = %s WHERE is_spend(e.kind) AND g.id = ANY (e.node_ids) GROUP BY e.hold_id",
            path,
        )
        return {hold_id: (int(amount), int(tokens)) for hold_id, amount, tokens in rows}

    def entries(self, path: str) -> list[dict[str, Any]]:
        """The entries of exactly one grant, oldest first."""
        rows = self.sql("SELECT to_jsonb(e) FROM entries AS e WHERE e.grant_path = %s ORDER BY e.seq", path)
        return [row[0] for row in rows]


def root(limit_usd: str | None = None, **more: Any) -> dict[str, Any]:
    """A root grant of a grants file: production, no end in sight, at most one money limit per month."""
    grant: dict[str, Any] = {"owner": "ada@acme.example", "class": "production", "expires": "2099-01-01"}
    if limit_usd is not None:
        grant["limits"] = [{"usd": limit_usd, "per": "month"}]
    return {**grant, **more}


@contextmanager
def another_gateway(system: System) -> Iterator[int]:
    """A second gateway process over the same database, as on another machine; its port."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "remit", "gateway", "--listen", f"127.0.0.1:{port}", "--config", str(system.config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "REMIT_GATEWAY_DATABASE_URL": system.url},
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as said:
        try:
            assert f"http://127.0.0.1:{port}/v1" in said.readline()
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


def gateway_answers(port: int) -> bool:
    """Whether some gateway process serves there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/healthz")
        with connection.getresponse() as response:
            return response.status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_port() -> int:
    """One below those that connections going out are given: between now and its use none of them takes it."""
    while True:
        port = secrets.choice(range(20_000, 32_000))
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def _toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()
