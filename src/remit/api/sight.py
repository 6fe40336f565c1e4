"""Which grants a person may see: those they own and everything below them; an admin sees all."""

from collections.abc import Sequence

from remit.grants.model import Actor, Grant, Problem, same_person
from remit.grants.tree import Tree


class Sight:
    """The part of a tree that one person sees. What they do not see is answered as if it did not exist."""

    def __init__(self, tree: Tree, actor: Actor) -> None:
        self._tree = tree
        self._actor = actor

    def sees(self, grant: Grant) -> bool:
        return self._actor.is_admin or any(self._owns(node) for node in self._tree.path_to(grant))

    def find(self, ref: str) -> Grant | Problem:
        """The grant of an id or path, if the person sees it."""
        grant = self._tree.find(ref)
        return unknown_grant(ref) if grant is None or not self.sees(grant) else grant

    def grants(self) -> list[Grant]:
        """Everything seen: parents before children, children by path."""
        return [grant for grant in self._tree if self.sees(grant)]

    def tops(self) -> list[str] | None:
        """The ids of the grants below which everything is seen; None for all there is."""
        if self._actor.is_admin:
            return None
        owned = (grant for grant in self._tree if self._owns(grant))
        return [grant.id for grant in owned if not any(self._owns(node) for node in self._tree.ancestors(grant))]

    def ids(self) -> list[str] | None:
        """The ids of everything seen; None for all there is."""
        return None if self._actor.is_admin else [grant.id for grant in self.grants()]

    def shown(self, problems: Sequence[Problem]) -> list[Problem]:
        """Problems without what they say about stored grants that the person does not see: siblings, and limits above."""
        return [self._shown(problem) for problem in problems]

    def _shown(self, problem: Problem) -> Problem:
        about = self._tree.find(problem.path)
        if about is None or self.sees(about):
            return problem
        detail = "this does not fit what stands above the grants you see; whoever owns that can say why"
        return Problem(code=problem.code, path="", detail=detail)

    def _owns(self, grant: Grant) -> bool:
        return same_person(self._actor.name, grant.owner)


def unknown_grant(ref: str) -> Problem:
    """What is said of a grant that does not exist, or is not seen."""
    return Problem(code="grant_unknown", path=ref, detail=f"there is no grant `{ref}`")
