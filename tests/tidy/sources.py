"""The files under the tidy rules, and what a rule answers with."""

import ast
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where a rule does not hold; the message says what to do instead."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class Source:
    """One text file; the path is relative to the root of the repository, with forward slashes."""

    path: str
    text: str

    @property
    def tree(self) -> ast.Module:
        return _parse(self.text, self.path)

    def is_under(self, *folders: str) -> bool:
        """Whether the file is one of the named files or lies in one of the named folders."""
        return any(self.path == folder or self.path.startswith(f"{folder}/") for folder in folders)


@cache
def _parse(text: str, path: str) -> ast.Module:
    return ast.parse(text, filename=path)


@cache
def repository_files() -> tuple[Source, ...]:
    """Every text file that is committed or about to be; ignored and binary files are not looked at."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    sources = []
    for name in sorted(filter(None, listing.split("\0"))):
        try:
            sources.append(Source(name, (ROOT / name).read_text(encoding="utf-8")))
        except (FileNotFoundError, UnicodeDecodeError):
            continue  # deleted but not yet committed, or binary
    return tuple(sources)


def files(*suffixes: str) -> tuple[Source, ...]:
    """The files of the repository whose names end in one of the suffixes."""
    return tuple(source for source in repository_files() if source.path.endswith(suffixes))


def assert_clean(findings: Iterable[Finding]) -> None:
    """Fail with every finding at once, so that one run shows all there is to mend."""
    lines = [str(finding) for finding in findings]
    assert not lines, f"{len(lines)} findings:\n" + "\n".join(lines)
