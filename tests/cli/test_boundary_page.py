"""The page about boundaries can be followed as it is printed."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, plain_environment
from tests.store.database import leave_embedded

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "write-a-boundary.md"


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Cli]:
    """The command line where there is nothing yet."""
    yield Cli(tmp_path, plain_environment(USER="ada"))
    leave_embedded(tmp_path / ".remit")


def test_the_page_can_be_followed(fresh: Cli) -> None:
    """Each command of the page prints what the page says, up to where it leaves something out."""
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    steps = [step for block in blocks for step in block.split("$ remit ")[1:]]
    assert len(steps) >= 6
    for step in steps:
        command, _, printed = step.partition("\n")
        ran = fresh(*shlex.split(command))
        whole, left_out, _ = printed.partition("...\n")
        assert ran.out.startswith(whole) if left_out else ran.out == whole, (command, ran.out, ran.err)
