"""The reference page and `--help` say the same."""

import contextlib
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from remit.cli.main import app, run

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"


def commands(above: App, prefix: str) -> Iterator[str]:
    """Every command that does something, by its full name."""
    for name in above:
        below = above[name]
        if name.startswith("-"):
            continue
        if any(not one.startswith("-") for one in below):
            yield from commands(below, f"{prefix} {name}")
            if below.default_command is not None:  # it does something by itself as well
                yield f"{prefix} {name}"
        else:
            yield f"{prefix} {name}"


def test_every_command_says_what_it_does() -> None:
    """No line of the list of commands is a name alone."""
    silent = [name for name in app if not name.startswith("-") and not app[name].help.strip()]
    assert silent == []


def sections() -> dict[str, str]:
    """Heading to text, for headings of the third level."""
    parts = re.split(r"^#{1,6} (.+)$", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def documented(command: str) -> set[str]:
    """The options of a command's section and of the sections it refers to."""
    known = sections()
    text = known[command]
    also = re.findall(r"\[([a-z ]+)\]\(#[a-z-]+\)", text.partition("Also takes")[2])
    return {
        name
        for part in (text, *(known[one] for one in also))
        for name in re.findall(r"^\| `(--[a-z0-9-]+)`", part, re.MULTILINE)
    }


def helped(command: str) -> set[str]:
    """The options `--help` lists."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setenv("COLUMNS", "200")
        assert run([*command.split()[1:], "--help"]) == 0
    return set(re.findall(r"^│ [* ]*(--[a-z0-9-]+)", out.getvalue(), re.MULTILINE))


HERE = list(commands(app, "remit"))


@pytest.mark.parametrize("command", HERE)
def test_help_and_reference_agree(command: str) -> None:
    """Each option of a command's help stands in its section of the page, and the other way round."""
    assert command in sections(), f"{PAGE.name} has no section `### {command}`"
    assert documented(command) == helped(command)


def test_the_reference_has_no_command_of_the_past() -> None:
    """Each command the page describes exists."""
    assert {name for name in sections() if name.startswith("remit ")} <= set(HERE)


def test_help_is_quick_to_load() -> None:
    """`remit --help` loads neither the database driver nor a price list nor the gateway."""
    code = (
        "import sys\nfrom remit.cli.main import run\nassert run(['--help']) == 0\n"
        "print([name for name in ('psycopg', 'genai_prices', 'uvloop', 'structlog', 'yaml') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_no_command_is_help_and_a_version_is_known() -> None:
    """`remit` alone lists the commands, and `--version` is one line."""
    for arguments, words in ([], "Usage: remit COMMAND"), (["--version"], "."):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert run(arguments) == 0
        assert words in out.getvalue()


def test_every_exit_code_of_the_page_is_helped() -> None:
    """`remit --help` names each code that the page explains."""
    codes = re.findall(r"[0-9]+", " ".join(re.findall(r"^\| ([0-9, ]+) \|", sections()["Exit codes"], re.MULTILINE)))
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert run(["--help"]) == 0
    told = " ".join(out.getvalue().partition("Exit codes:")[2].split())
    assert len(codes) >= 9 and [code for code in codes if not re.search(rf"(^|, ){code} [a-z]", told)] == []
