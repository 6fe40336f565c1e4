"""Standard streams that are closed."""

import subprocess

import pytest

from tests.cli.conftest import Cli


def closing(cli: Cli, streams: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command with some of its streams closed, as a shell closes them."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {streams}', "sh", *cli.command(), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=cli.folder,
        env=cli.environment,
    )


@pytest.mark.parametrize("command", [("grant", "tree"), ("person", "create", "nobody-hears")])
def test_nothing_is_done_where_no_answer_can_be_given(cli: Cli, spent: str, command: tuple[str, ...]) -> None:
    """Without a standard output a command says so, ends with the code for output, and has written nothing."""
    ran = closing(cli, ">&-", *command)
    assert (ran.returncode, ran.stderr) == (74, "remit: cannot write: standard output is closed\n")
    assert "nobody-hears" not in cli.ok("person", "list").out
    assert closing(cli, ">&- 2>&-", *command).returncode == 74


def test_other_streams_may_be_closed(cli: Cli, spent: str) -> None:
    """Neither questions nor remarks are needed for an answer, and a remark never becomes part of one."""
    answer = cli.ok("ledger", "report", "--by", "nothing_has_this", "--json").out
    ran = closing(cli, "<&- 2>&-", "ledger", "report", "--by", "nothing_has_this", "--json")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, answer, "")
