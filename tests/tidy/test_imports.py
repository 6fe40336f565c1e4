"""The import contract of pyproject.toml holds, and each part of it can fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidy.sources import ROOT


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the contract on the package under `folder/src`, not on an installed one."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    environment = os.environ | {"PYTHONPATH": str(folder / "src"), "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_imports_go_down_only() -> None:
    """Every contract is kept by the package as it is."""
    run = lint_imports(ROOT)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("module", "text", "broken"),
    [
        ("grants/rules.py", "from remit.kernel import ids", None),
        ("kernel/ids.py", "from remit.grants import rules", "import direction BROKEN"),
        ("ledger/rules.py", "from remit.grants import rules", "import direction BROKEN"),
        ("sdk/clients.py", "from remit.kernel import ids", None),
        ("sdk/clients.py", "from remit.grants import rules", "the SDK stands on capabilities and kernel BROKEN"),
        ("sdk/clients.py", "import msgspec", "the SDK needs no server BROKEN"),
        ("bootstrap/__init__.py", "from remit.sdk import clients", "import direction BROKEN"),
        ("misc/rules.py", "", "import direction BROKEN"),
        ("grants/rules.py", "import psycopg", "domain folders do no I/O BROKEN"),
        ("leases/rules.py", "import genai_prices", "prices come through the price book BROKEN"),
        ("kernel/ids.py", "import msgspec", "the kernel is standard library only BROKEN"),
    ],
)
def test_the_contract_can_break(tmp_path: Path, module: str, text: str, broken: str | None) -> None:
    """A small package with one wrong import breaks the contract that forbids it, and a right one breaks none."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name in {"__init__.py", "kernel/ids.py", "grants/rules.py", "sdk/clients.py", module}:
        path = tmp_path / "src/remit" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text if name == module else "")
    run = lint_imports(tmp_path)
    assert run.returncode == (broken is not None), run.stdout + run.stderr
    assert broken is None or broken in run.stdout
