"""The README of the conformance tests says where each case is."""

import re
from pathlib import Path

import pytest

from tests.tidy.sources import ROOT

README = ROOT / "tests" / "conformance" / "README.md"
CASES = ROOT.parent / "shared" / "conformance" / "cases.md"


def table() -> dict[str, list[str]]:
    """Tests by case."""
    rows = re.findall(r"^\| ([a-z0-9, -]+) \| (.*`test_\w+`.*) \|$", README.read_text(encoding="utf-8"), re.MULTILINE)
    return {case: re.findall(r"`(test_\w+)`", tests) for cases, tests in rows for case in cases.split(", ")}


def defined() -> set[str]:
    files: list[Path] = [
        path for name in ("conformance", "crash") for path in (ROOT / "tests" / name).glob("test_*.py")
    ]
    return {
        name
        for path in files
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }


def test_every_test_of_the_table_is_there() -> None:
    """No case leads to a test that was renamed or removed."""
    assert len(table()) > 30 and not {name for tests in table().values() for name in tests} - defined()


def test_every_case_is_in_the_table() -> None:
    """The catalogue of cases and the table have the same."""
    if not CASES.exists():
        pytest.skip("the catalogue of cases is not here")
    cells = re.findall(r"^\| ([a-z][a-z0-9 /-]+) \|", CASES.read_text(encoding="utf-8"), re.MULTILINE)
    wanted = set()
    for cell in cells:
        first, *others = cell.split(" / ")
        stem = first.rpartition("-")[0]
        wanted |= {first, *(f"{stem}{other}" for other in others)}
    assert wanted - {"case"} == set(table())
