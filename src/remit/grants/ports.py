"""What the grant service needs from storage: one serial unit of work over the tree."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from remit.grants.model import Grant, Problem, Revision
from remit.grants.usage import Used
from remit.grants.vocabulary_model import GovernedTag


class StaleRevisionError(Exception):
    """The stored revision is not the expected one; nothing was written."""


class PathTakenError(Exception):
    """A grant with that path or id is stored already; nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """The first write under an idempotency key: what was asked (JSON-able) and what was answered."""

    key: str
    body: Mapping[str, Any]
    answer: Mapping[str, Any]

    def conflict(self, body: Mapping[str, Any]) -> Problem | None:
        """Which field of another request under the same key differs from the first; None for the same request."""
        for name in [*body, *(name for name in self.body if name not in body)]:
            if name not in body or name not in self.body or body[name] != self.body[name]:
                detail = f"the idempotency key `{self.key}` was used for another request: {name} differs"
                return Problem(code=f"conflict_different_{name}", path="", field=name, detail=detail)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Who carries out which operation, when, why, and under which key: said before anything is written."""

    at: datetime
    actor: str
    operation: str
    reason: str = ""
    request_key: str = ""


class GrantReads(Protocol):
    """Reads of one consistent moment."""

    def load_tree(self) -> list[Grant]:
        """All grants, in any order."""
        ...

    def find(self, id_or_path: str) -> Grant | None:
        """The grant of that id, or else of that path."""
        ...

    def used(self, grant_ids: Collection[str], now: datetime) -> list[Used]:
        """What is used of the limits of these grants in the periods that hold `now`; nothing for a limit never used."""
        ...

    def revisions(self, grant_id: str) -> list[Revision]:
        """All revisions of a grant, oldest first; empty for an unknown id."""
        ...

    def left(self, names: Iterable[str]) -> frozenset[str]:
        """Which of these people left, by their names without case: they can own nothing new."""
        ...

    def vocabulary(self) -> Sequence[GovernedTag]:
        """The tag names that are governed."""
        ...


class GrantUnit(GrantReads, Protocol):
    """One transaction. Reads see its own writes."""

    def insert(self, grant: Grant, revision: Revision) -> None:
        """Store a new grant and its first revision. Raises PathTakenError."""
        ...

    def update(self, grant: Grant, expected_revision: int, revision: Revision) -> None:
        """Replace a grant and append its revision. Raises StaleRevisionError, also for an unknown id."""
        ...

    def refused(self, about: str | None, problems: Sequence[Problem]) -> None:
        """Keep that this write was refused, and why; `about` is the id or path of the grant it is about."""
        ...

    def remembered(self, key: str) -> Remembered | None:
        """The first write under this key, if there was one."""
        ...

    def remember(self, first: Remembered) -> None:
        """Keep the first write under its key. The key is new (`remembered` was asked in this unit)."""
        ...


class GrantRepository(Protocol):
    """Where the tree is kept."""

    def write(self, said: Said) -> AbstractContextManager[GrantUnit]:
        """A unit that excludes all other writers; it commits when the block ends and rolls back when it raises."""
        ...

    def read(self) -> AbstractContextManager[GrantReads]:
        """A consistent view that waits for nobody."""
        ...
