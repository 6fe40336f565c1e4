"""A grant repository in memory, for tests of what stands above the port.

It passes the same conformance suite as the real one. One writer at a time; a block that raises leaves no trace.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from threading import RLock
from zoneinfo import ZoneInfo

from remit.grants.model import Grant, Problem, Revision
from remit.grants.ports import PathTakenError, Remembered, Said, StaleRevisionError
from remit.grants.usage import Used
from remit.grants.vocabulary_model import GovernedTag
from remit.kernel.periods import period_of


class MemoryUnit:
    """A private copy of the state, kept only if the block ends without an exception."""

    def __init__(
        self,
        grants: dict[str, Grant],
        revisions: dict[str, list[Revision]],
        first: dict[str, Remembered],
        gone: frozenset[str] = frozenset(),
        buckets: Collection[Used] = (),
        *,
        tags: Sequence[GovernedTag] = (),
    ) -> None:
        self.grants = dict(grants)
        self.history = {grant_id: list(kept) for grant_id, kept in revisions.items()}
        self.first = dict(first)
        self.gone = gone
        self.buckets = tuple(buckets)
        self.tags = tuple(tags)

    def used(self, grant_ids: Collection[str], now: datetime) -> list[Used]:
        return [
            one
            for one in self.buckets
            if one.grant_id in grant_ids
            and now in period_of(one.period, one.starts_at, ZoneInfo(self.grants[one.grant_id].time_zone))
        ]

    def load_tree(self) -> list[Grant]:
        return list(self.grants.values())

    def find(self, id_or_path: str) -> Grant | None:
        by_path = (grant for grant in self.grants.values() if grant.path == id_or_path)
        return self.grants.get(id_or_path) or next(by_path, None)

    def revisions(self, grant_id: str) -> list[Revision]:
        return list(self.history.get(grant_id, []))

    def insert(self, grant: Grant, revision: Revision) -> None:
        if grant.id in self.grants or self.find(grant.path) is not None:
            raise PathTakenError(grant.path)
        assert grant.parent_id is None or grant.parent_id in self.grants
        self.grants[grant.id] = grant
        self.history[grant.id] = [revision]

    def update(self, grant: Grant, expected_revision: int, revision: Revision) -> None:
        stored = self.grants.get(grant.id)
        if stored is None or stored.revision != expected_revision:
            raise StaleRevisionError(grant.path)
        self.grants[grant.id] = grant
        self.history[grant.id].append(revision)

    def left(self, names: Iterable[str]) -> frozenset[str]:
        return self.gone & {name.casefold() for name in names}

    def vocabulary(self) -> Sequence[GovernedTag]:
        return self.tags

    def refused(self, about: str | None, problems: Sequence[Problem]) -> None:
        assert problems

    def remembered(self, key: str) -> Remembered | None:
        return self.first.get(key)

    def remember(self, first: Remembered) -> None:
        assert first.key not in self.first
        self.first[first.key] = first


class MemoryGrantRepository:
    """Implements `remit.grants.ports.GrantRepository` in one process. `gone` are people who left, in lower case, `tags` the names that are governed."""

    def __init__(self, gone: frozenset[str] = frozenset(), tags: Sequence[GovernedTag] = ()) -> None:
        self._gone = gone
        self.tags = tags
        self._state = MemoryUnit({}, {}, {})
        self._buckets: dict[tuple[str, str, str, object], Used] = {}
        self._lock = RLock()

    @contextmanager
    def write(self, said: Said) -> Iterator[MemoryUnit]:
        """A unit that excludes all other writers."""
        with self._lock:
            unit = self._copy()
            yield unit
            self._state = unit

    @contextmanager
    def read(self) -> Iterator[MemoryUnit]:
        """The state of this moment, unaffected by later writes."""
        yield self._copy()

    def use(self, used: Used) -> None:
        """Puts what is used of one limit in one period, which in the real repository gateways do."""
        self._buckets[used.grant_id, used.dimension, used.period, used.starts_at] = used

    def _copy(self) -> MemoryUnit:
        state = self._state
        return MemoryUnit(
            state.grants, state.history, state.first, self._gone, list(self._buckets.values()), tags=self.tags
        )
