"""Statements as they are kept: versions of what a vendor said about a period."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from remit.reconcile.statements.model import Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A statement that is kept already, as far as it matters for the next one of its vendor, source and account."""

    id: str
    since: datetime
    until: datetime
    version: int
    lines_sha256: bytes
    is_complete: bool
    is_withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a new statement stands: which version of its period it is, and which statement it takes the place of."""

    version: int
    supersedes: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What importing answered: the statement as it is kept, and whether it is new. `summary` is of the bytes just read."""

    statement: dict[str, Any]
    is_new: bool
    summary: Summary
