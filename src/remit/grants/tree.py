"""An immutable index over all grants: by id, by path, children, the way to the root."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from remit.grants.model import Grant


class Tree:
    """All grants of one moment. Every parent id leads to a grant of the same tree; paths are unique."""

    __slots__ = ("_by_id", "_by_path", "_children")

    def __init__(self, grants: Iterable[Grant]) -> None:
        self._by_id = {grant.id: grant for grant in grants}
        self._by_path = {grant.path: grant for grant in self._by_id.values()}
        assert len(self._by_path) == len(self._by_id), "a path names one grant"
        self._children: dict[str | None, list[Grant]] = {}
        for grant in sorted(self._by_id.values(), key=lambda one: one.path):
            assert grant.parent_id is None or grant.parent_id in self._by_id, grant.path
            self._children.setdefault(grant.parent_id, []).append(grant)

    def find(self, id_or_path: str) -> Grant | None:
        """The grant of that id or path; no path has the form of an id."""
        return self._by_id.get(id_or_path) or self._by_path.get(id_or_path)

    def at_path(self, path: str) -> Grant | None:
        """The grant of that path."""
        return self._by_path.get(path)

    def __getitem__(self, grant_id: str) -> Grant:
        return self._by_id[grant_id]

    def __iter__(self) -> Iterator[Grant]:
        """Depth first, children in the order of their paths."""
        stack = list(reversed(self.children(None)))
        while stack:
            grant = stack.pop()
            yield grant
            stack.extend(reversed(self.children(grant.id)))

    def __len__(self) -> int:
        return len(self._by_id)

    def children(self, grant_id: str | None) -> list[Grant]:
        """Direct children in the order of their paths; `None` gives the roots."""
        return self._children.get(grant_id, [])

    def live_children(self, grant_id: str, now: datetime) -> list[Grant]:
        """Direct children that hold a part of their parent's authority."""
        return [child for child in self.children(grant_id) if child.is_live(now)]

    def live_below(self, grant_id: str, now: datetime) -> list[Grant]:
        """All descendants reached through live grants only, parents first."""
        found = self.live_children(grant_id, now)
        for grant in found:  # grows while it is read: breadth first
            found.extend(self.live_children(grant.id, now))
        return found

    def path_to(self, grant: Grant) -> tuple[Grant, ...]:
        """The grants from the root down to and including this one."""
        nodes = [grant]
        while (parent_id := nodes[-1].parent_id) is not None:
            nodes.append(self._by_id[parent_id])
        return tuple(reversed(nodes))

    def ancestors(self, grant: Grant) -> tuple[Grant, ...]:
        """The grants from the root down to the parent; empty for a root."""
        return self.path_to(grant)[:-1]

    def with_grants(self, grants: Iterable[Grant]) -> "Tree":
        """A tree in which these grants are added or take the place of those with the same id."""
        return Tree({**self._by_id, **{grant.id: grant for grant in grants}}.values())
