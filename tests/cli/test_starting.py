"""Commands that cannot do what they were asked end at once, in one line, and leave nothing behind."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, plain_environment
from tests.cli.test_grants import FILE, on_a_terminal
from tests.system.harness import free_port

VENDOR = ("--vendor-url", "http://127.0.0.1:1")


@pytest.fixture
def fresh(tmp_path: Path) -> Cli:
    """The command line in an empty folder, with no settings at all."""
    return Cli(tmp_path, plain_environment(USER="ada"))


@pytest.fixture
def taken() -> Iterator[str]:
    """An address somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield f"127.0.0.1:{other.getsockname()[1]}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "needs its key in the environment variable `OPENAI_API_KEY`"),
        (("--vendor-url", "nonsense"), "`vendors.openai.base_url` is not an http or https URL"),
        (("--vendor-url", "ftp://x"), "`vendors.openai.base_url` is not an http or https URL"),
        ((*VENDOR, "--workers", "0"), "`gateway.workers`"),
        ((*VENDOR, "--listen", "nohost.invalid:80"), "the gateway cannot listen on `nohost.invalid:80`"),
    ],
)
def test_a_gateway_that_could_not_serve_is_not_started(fresh: Cli, arguments: tuple[str, ...], words: str) -> None:
    """What is wrong with the vendors, the workers or the address is one line and exit code two."""
    ran = fresh.process("up", *arguments)
    assert ran.code == 2 and words in ran.err and ran.err.startswith("remit: ") and ran.err.count("\n") == 1
    assert list(fresh.folder.iterdir()) == []


def test_a_taken_port_is_known_before_anything_starts(fresh: Cli, taken: str) -> None:
    """Both addresses are tried first, they must not be one, and it is said what names another."""
    free = f"127.0.0.1:{free_port()}"
    by = {"gateway": "--listen", "API": "`api.listen` or $REMIT_API_LISTEN"}
    for gateway, api, who in ((taken, free, "gateway"), (free, taken, "API"), (free, free, "API")):
        ran = fresh.process("up", *VENDOR, "--listen", gateway, REMIT_API_LISTEN=api)
        address = gateway if who == "gateway" else api
        why = f"the {who} cannot listen on `{address}`: address already in use; {by[who]} names another address"
        assert (ran.code, ran.err) == (2, f"remit: {why}\n")
    assert list(fresh.folder.iterdir()) == []


@pytest.mark.parametrize("command", [("up", *VENDOR), ("grant", "tree"), ("apply", "-", "--yes"), ("doctor",)])
@pytest.mark.parametrize("below", ["", "/deeper"])
def test_a_data_folder_that_is_a_file_is_a_mistake_in_the_settings(
    fresh: Cli, command: tuple[str, ...], below: str
) -> None:
    """The file is named, whichever command is given it."""
    (fresh.folder / "file").write_text("")
    ran = fresh.process(*command, "--data-dir", f"file{below}", stdin="grants: {}")
    assert (ran.code, ran.err) == (2, f"remit: the data folder cannot be `file{below}`: `file` is not a folder\n")


def test_a_plan_that_is_not_carried_out_makes_no_database(fresh: Cli) -> None:
    """Looking at a plan, not being able to ask, and declining leave an empty folder as it was."""
    file = fresh.folder / "grants.yaml"
    file.write_text(FILE.format(name="acme", usd="100"))
    assert "2 to create" in fresh.process("apply", "grants.yaml", "--dry-run").out
    assert fresh.process("apply", "grants.yaml").code == 2
    # What a terminal sends for Ctrl-D and Ctrl-C.
    for typed, code in (("\x04", 1), ("\x03", 130), ("n\n", 1)):
        ran = on_a_terminal(fresh, "apply", "grants.yaml", typed=typed)
        assert ran.code == code and "nothing was changed" in ran.out and "Traceback" not in ran.out
    assert [path.name for path in fresh.folder.iterdir()] == ["grants.yaml"]


def test_a_plan_is_coloured_on_a_terminal(fresh: Cli) -> None:
    """What is created is green where there is a terminal, and plain where there is none."""
    (fresh.folder / "grants.yaml").write_text(FILE.format(name="acme", usd="100"))
    assert "\x1b[32m+ acme" in on_a_terminal(fresh, "apply", "grants.yaml", "--dry-run").out
    assert fresh.process("apply", "grants.yaml", "--dry-run").out.startswith("+ acme\n")
    (fresh.folder / "empty.yaml").write_text("grants: {}")
    assert fresh.process("apply", "empty.yaml").out.endswith("nothing to do\n")


def test_a_full_disk_is_one_line(fresh: Cli) -> None:
    """Output that cannot be written is exit code 74, not a traceback."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*fresh.command(), "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (74, "remit: cannot write: no space left on device\n")


@pytest.mark.parametrize("shell", [[], ["sh", "-c", "trap '' INT; exec \"$@\"", "sh"]], ids=["", "background"])
def test_a_terminated_command_lets_its_database_stop(fresh: Cli, shell: list[str]) -> None:
    """SIGTERM is as orderly an end as Ctrl-C, also where a script's shell has Ctrl-C ignored: no embedded server is left."""
    fresh.process("apply", "-", "--yes", stdin=FILE.format(name="acme", usd="100"))
    running = fresh.folder / ".remit" / "postgres" / "postmaster.pid"
    assert not running.exists()
    command = [*fresh.command(), "grant", "tree"], [*fresh.command(), "ledger", "tail", "-f"]
    with subprocess.Popen([*shell, *command[1]], cwd=fresh.folder, env=fresh.environment) as process:
        while not running.exists():
            assert process.poll() is None
            time.sleep(0.01)
        subprocess.run(command[0], cwd=fresh.folder, env=fresh.environment, capture_output=True, check=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    assert not running.exists()


def test_a_vendor_that_cannot_listen_says_so(fresh: Cli, taken: str, tmp_path: Path) -> None:
    """A taken port, an unknown host, a number that is no port and a missing price list are a line each."""
    port = taken.rpartition(":")[2]
    missing = str(tmp_path / "none.json")
    for arguments, words in (
        (("--port", port), f"cannot listen on `{taken}`: address already in use"),
        (("--host", "nohost.invalid"), "cannot listen on `nohost.invalid:0`"),
        (("--port", "99999"), "--port"),
        (("--prices", missing), f"cannot read `{missing}`: no such file or directory"),
    ):
        ran = fresh.process("vendor-sim", *arguments)
        assert ran.code == 2 and words in ran.err and ran.err.startswith("remit: ") and ran.err.count("\n") == 1


def test_an_interrupted_demo_says_that_it_stops(fresh: Cli) -> None:
    """Ctrl-C while the database is still being made ends everything, with a word about it."""
    with subprocess.Popen(
        [*fresh.command(), "demo"],
        cwd=fresh.folder,
        env={**fresh.environment, "TMPDIR": str(fresh.folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        while not list(fresh.folder.glob("remit-*/remit.log")):
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "stopping\n")
    assert list(fresh.folder.iterdir()) == []


def test_what_a_grants_file_says_too_much_of_is_said_once(fresh: Cli) -> None:
    """A file with far too many grants is one problem, not one for each of them."""
    grants = {f"g{number}": {"owner": "x@y.z"} for number in range(10_050)}
    (fresh.folder / "huge.yaml").write_text(json.dumps({"grants": grants}))
    ran = fresh.process("apply", "huge.yaml", "--dry-run")
    assert ran.code == 2 and ran.err == "remit: `huge.yaml`: the file has more than 10,000 grants\n"
