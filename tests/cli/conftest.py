"""A Remit with traffic behind it, and the real command line in processes of its own."""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from remit.cli.main import run
from tests.store.database import leave_embedded
from tests.system.harness import System, root


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@contextlib.contextmanager
def a_folder_with(grants: str, folder: Path) -> Iterator["Cli"]:
    """The command line over a database of its own, in which this grants file was applied."""
    (folder / "grants.yaml").write_text(grants)
    made = Cli(folder, {"PATH": os.environ["PATH"], "HOME": str(folder), "USER": "tester"})
    made.ok("apply", "grants.yaml", "--yes", "--reason", "as planned")
    yield made
    leave_embedded(folder / ".remit")


@dataclass(frozen=True, slots=True)
class Cli:
    """Runs `remit` as a user would, over one configuration."""

    folder: Path
    environment: dict[str, str]

    def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> Ran:
        """Runs a command in this process, which spares a second of imports; nothing is replaced but the streams."""
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            for name in set(os.environ) - set(self.environment):
                patch.delenv(name)
            for name, value in {**self.environment, **environment}.items():
                patch.setenv(name, value)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            logs = structlog.get_config()  # `up` sets logs up for its process, which is that of all tests here
            try:
                code = run(arguments)
            finally:
                structlog.configure(**logs)
        return Ran(code, out.getvalue(), err.getvalue())

    def process(self, *arguments: str, stdin: str = "", **environment: str) -> Ran:
        """Runs a command in a process of its own."""
        done = subprocess.run(
            [*self.command(), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=self.folder,
            env={**self.environment, **environment},
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: str, **more: Any) -> Ran:
        """The same for a command that has to end well."""
        ran = self(*arguments, **more)
        assert ran.code == 0, (ran.out, ran.err)
        return ran

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "remit"]


HELLO: Any = [{"role": "user", "content": "hello"}]


def plain_environment(**more: str) -> dict[str, str]:
    """This process's environment without what would change what Remit reads or how it looks."""
    own = ("REMIT_", "NO_COLOR", "FORCE_COLOR", "OPENAI_API_KEY", "COLUMNS")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)} | more


@pytest.fixture(scope="package")
def system() -> Iterator[System]:
    """A running Remit with its vendor."""
    with System() as running:
        yield running


@pytest.fixture(scope="package")
def cli(system: System) -> Cli:
    """The command line over the running Remit's settings."""
    return Cli(system.folder, plain_environment(REMIT_CONFIG=str(system.config), USER="ada"))


@pytest.fixture(scope="package")
def spent(system: System) -> str:
    """The root of a tree in which two teams have spent $0.30 and $0.10."""
    child = {"owner": "bob@acme.example", "limits": [{"usd": "5", "per": "month"}]}
    teams = {team: {**child, "scope": {"team": team}} for team in ("search", "lab")}
    system.apply({"books": root("10", children=teams)})
    for team, tokens in (("search", 2), ("search", 1), ("lab", 1)):
        key = system.key(f"books/{team}")
        system.client(key).chat.completions.create(
            model="sim-dime",
            messages=HELLO,
            max_completion_tokens=tokens,
        )
    system.wait_until_no_hold_is_open()
    return "books"
