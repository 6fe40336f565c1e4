"""Commands that run until they are told to stop, and databases that do not answer."""

import http.client
import signal
import subprocess
from pathlib import Path
from typing import Any

import openai
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.cli.conftest import HELLO, Cli
from tests.system.harness import System, free_port, root

UNREACHABLE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.mark.parametrize("command", [("grant", "tree"), ("doctor",), ("gateway",), ("apply", "-", "--yes")])
def test_a_database_that_does_not_answer_is_exit_code_three(cli: Cli, command: tuple[str, ...]) -> None:
    """One line says that the database cannot be used, whoever asks."""
    ran = cli.process(*command, REMIT_DATABASE_URL=UNREACHABLE, stdin="grants: {}")
    assert ran.code == 3 and ran.err.startswith("remit: cannot use the database: ") and ran.err.count("\n") == 1


def test_settings_that_cannot_be_used_are_exit_code_two(cli: Cli, tmp_path: Path) -> None:
    """An unknown setting, a missing file and a gateway without a database are named."""
    config = tmp_path / "remit.toml"
    config.write_text("colour = 1\n")
    assert "colour" in cli("doctor", "--config", str(config)).err
    missing = cli("doctor", "--config", str(tmp_path / "none.toml"))
    assert missing.code == 2 and "cannot read" in missing.err
    alone = cli("gateway")
    assert alone.code == 2 and "gateway_database_url" in alone.err


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://[hunter2",
        "postgresql://u:hunter2/x@127.0.0.1:1/db",
        "postgresql://u:p@hunter2@127.0.0.1:1/db",
        "postgresql://u:hunter2%zz@127.0.0.1:1/db",
        "mysql://u:hunter2@127.0.0.1/db",
        "host=127.0.0.1 password=a hunter2",
    ],
)
def test_a_password_is_not_repeated(cli: Cli, address: str) -> None:
    """An address that cannot be read is exit code two, and none of it is in the line that says so."""
    for command, variable in [
        ("doctor", "REMIT_DATABASE_URL"),
        ("up", "REMIT_DATABASE_URL"),
        ("gateway", "REMIT_GATEWAY_DATABASE_URL"),
        ("up", "REMIT_GATEWAY_DATABASE_URL"),
    ]:
        ran = cli(command, **{variable: address})
        assert ran.code == 2 and ran.err.startswith("remit: the database's address cannot be read"), ran.err
        assert "hunter2" not in ran.out + ran.err and ran.err.count("\n") == 1


def test_gateway_processes_have_nothing_to_go_back_to(system: System) -> None:
    """Every connection they have is of a login of their own; undoing its step down leaves it without any right to money."""
    users = system.sql("SELECT DISTINCT usename FROM pg_stat_activity WHERE application_name = 'remit-gateway'")
    assert users == [("remit_gateway_login",)]
    with psycopg.connect(make_conninfo(system.url, user="remit_gateway_login"), autocommit=True) as connection:
        connection.execute("SET ROLE remit_gateway; RESET ROLE")
        for role in ("postgres", "remit_owner", "remit_authority", "remit_reader"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SET ROLE {role}".encode())
        for statement in ("SELECT * FROM remit.entries", "UPDATE remit.buckets SET posted = 0"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def test_a_gateway_alone_serves_the_same_tree(cli: Cli, system: System) -> None:
    """A gateway over a given database enforces and books as the one beside the authority does."""
    system.apply({"alone": root("0.10")})
    port = free_port()
    process = subprocess.Popen(
        [*cli.command(), "gateway", "--listen", f"127.0.0.1:{port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**cli.environment, "REMIT_GATEWAY_DATABASE_URL": system.url},
        cwd=cli.folder,
        text=True,
    )
    try:
        assert process.stdout is not None and f"http://127.0.0.1:{port}/v1" in process.stdout.readline()
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=system.key("alone"), max_retries=0)
        ask: dict[str, Any] = {"model": "sim-dime", "messages": HELLO, "max_completion_tokens": 1}
        client.chat.completions.create(**ask)
        with pytest.raises(openai.APIStatusError):
            client.chat.completions.create(**ask)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0 and process.stdout is not None
        process.stdout.close()
    system.wait_until_no_hold_is_open()
    assert system.spent("alone") == 100_000_000


def test_the_vendor_simulator_gets_its_own_options(cli: Cli) -> None:
    """`remit vendor-sim` hands everything on, `--help` included."""
    assert "--until-stdin-ends" in cli.process("vendor-sim", "--help").out
    assert cli.process("vendor-sim", "--bogus").code == 2
    with subprocess.Popen(
        [*cli.command(), "vendor-sim", "--port", "0", "--until-stdin-ends"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=cli.environment,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        host, _, port = process.stdout.readline().strip().removeprefix("http://").rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        connection.request("GET", "/sim/books")
        assert connection.getresponse().status == 200
        connection.close()
        process.stdin.close()
    assert process.returncode == 0


def test_output_may_be_cut_short(cli: Cli, spent: str) -> None:
    """A reader that leaves early is no error worth a traceback."""
    with subprocess.Popen(
        [*cli.command(), "grant", "tree", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=cli.environment,
        cwd=cli.folder,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode in (0, 141)
