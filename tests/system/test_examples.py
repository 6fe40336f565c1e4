"""The programs under examples/ run as their page says."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_tree_of_agents_keeps_its_books() -> None:
    """Nine agents on budgets made offline: one runs away, one is revoked, and every book agrees."""
    command = [sys.executable, str(EXAMPLES / "agent_tree.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything agrees" in done.stdout
    assert "NOT" not in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_quarter_of_forty_grants_and_twelve_people_comes_out_right() -> None:
    """Requests, renewals, a leaver, a runaway, an overdraft and a lapse: each acts on what is theirs, and the books agree."""
    command = [sys.executable, str(EXAMPLES / "quarter.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "vendor and ledger agree to the nano-dollar" in done.stdout
    assert "NOT" not in done.stdout
