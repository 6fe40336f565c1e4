"""What commands do with a name that `--out` gives and that something has already."""

import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from remit.store.whole_files import whole_file
from tests.cli.conftest import Cli, Ran
from tests.system.harness import System

Write = Callable[[str, str], Ran]
ENDINGS = {"statement": "html", "sheet": "csv", "focus": "csv", "export": "jsonl"}


@pytest.fixture
def write(cli: Cli, spent: str, system: System) -> Write:
    """Runs one of the commands of the ledger that write a file."""
    ((month,),) = system.sql("SELECT to_char(max(billing_month), 'YYYY-MM') FROM entries")
    options = {
        "statement": ("--owner", "bob@acme.example", "--month", month),
        "sheet": ("--month", month),
        "focus": ("--month", month),
        "export": (),
    }
    return lambda command, out: cli("ledger", command, *options[command], "--out", out)


@pytest.fixture
def things(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """A folder with a pipe, a socket, a folder, a link to a file and a link to nothing."""
    found = {name: tmp_path / name for name in ("pipe", "socket", "folder", "link", "dangling")}
    os.mkfifo(found["pipe"])
    found["folder"].mkdir()
    (tmp_path / "target").write_text("of before")
    found["link"].symlink_to("target")
    found["dangling"].symlink_to("nothing")
    with ExitStack() as opened:
        listening = opened.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(str(found["socket"]))
        yield found


@pytest.mark.parametrize("command", ENDINGS)
def test_what_is_no_regular_file_stays(write: Write, things: dict[str, Path], command: str, tmp_path: Path) -> None:
    """A pipe, socket, folder or link is neither replaced nor written to, whichever command is told its name."""
    for kind, path in things.items():
        named = path.rename(path.with_name(f"{kind}.{ENDINGS[command]}"))
        before = named.lstat()
        ran = write(command, str(named))
        assert (ran.code, ran.out) == (74, ""), kind
        assert ran.err == f"remit: cannot write `{named}`: what is there is no regular file\n"
        after = named.lstat()
        assert (after.st_ino, stat.S_IFMT(after.st_mode)) == (before.st_ino, stat.S_IFMT(before.st_mode)), kind
        named.rename(path)
    assert (tmp_path / "target").read_text() == "of before" and not (tmp_path / "nothing").exists()
    assert {one.name for one in tmp_path.iterdir()} == {*things, "target"}


@pytest.mark.parametrize("command", ["statement", "sheet", "focus"])
def test_a_folder_that_takes_no_file_is_one_line(write: Write, command: str) -> None:
    """Where no file can be made, it is said, with the exit code for output."""
    ran = write(command, f"/proc/x.{ENDINGS[command]}")
    assert ran.code == 74 and ran.err.startswith("remit: cannot write `/proc/x.") and ran.err.count("\n") == 1


def test_what_comes_meanwhile_stays(tmp_path: Path) -> None:
    """A pipe that takes the name while a file is written is not replaced, and nothing is left beside it."""
    out = tmp_path / "x.csv"
    with pytest.raises(FileExistsError, match="no regular file"), whole_file(out, 0o600):
        os.mkfifo(out)
    assert out.is_fifo() and list(tmp_path.iterdir()) == [out]


def test_a_file_that_must_not_exist_is_not_replaced(tmp_path: Path) -> None:
    """Neither one that was there, nor one that comes while it is written."""
    out = tmp_path / "x.jsonl"
    with pytest.raises(FileExistsError), whole_file(out, 0o600, replaces=False):
        out.write_text("2")
    with pytest.raises(FileExistsError), whole_file(out, 0o600, replaces=False):
        raise AssertionError("not reached")
    assert out.read_text() == "2" and list(tmp_path.iterdir()) == [out]
    with whole_file(tmp_path / "y.jsonl", 0o600, replaces=False) as file:
        file.write(b"3")
    assert (tmp_path / "y.jsonl").read_bytes() == b"3" and len(list(tmp_path.iterdir())) == 2
