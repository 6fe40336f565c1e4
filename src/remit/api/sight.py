"""Which grants a person may see: those they own or have a role for, and everything below them; an admin sees all."""

from collections.abc import Sequence

from remit.grants.model import Actor, Grant, Problem
from remit.grants.roles import Right, may, owner_may
from remit.grants.tree import Tree


class Sight:
    """The part of a tree that one person sees. What they do not see is answered as if it did not exist.

    `right` is what they want to see of it: a role may show the ledger of a grant and not its keys.
    """

    def __init__(self, tree: Tree, actor: Actor, right: Right = "read_grants") -> None:
        self._tree = tree
        self._actor = actor
        self._right: Right = right
        self._everything = may(actor, right)

    def sees(self, grant: Grant) -> bool:
        if self._everything:
            return True
        path = self._tree.path_to(grant)
        return may(self._actor, self._right, path) or owner_may(self._actor, self._right, path)

    def find(self, ref: str) -> Grant | Problem:
        """The grant of an id or path, if the person sees it."""
        grant = self._tree.find(ref)
        return unknown_grant(ref) if grant is None or not self.sees(grant) else grant

    def grants(self) -> list[Grant]:
        """Everything seen: parents before children, children by path."""
        return [grant for grant in self._tree if self.sees(grant)]

    def tops(self) -> list[str] | None:
        """The ids of the grants below which everything is seen; None for all there is."""
        if self._everything:
            return None
        # Whoever sees a grant sees everything below it.
        seen = {grant.id: grant for grant in self.grants()}
        return [grant.id for grant in seen.values() if grant.parent_id not in seen]

    def ids(self) -> list[str] | None:
        """The ids of everything seen; None for all there is."""
        return None if self._everything else [grant.id for grant in self.grants()]

    def shown(self, problems: Sequence[Problem]) -> list[Problem]:
        """Problems without what they say about stored grants that the person does not see: siblings, and limits above."""
        return [self._shown(problem) for problem in problems]

    def _shown(self, problem: Problem) -> Problem:
        about = self._tree.find(problem.path)
        if about is None or self.sees(about):
            return problem
        detail = "this does not fit what stands above the grants you see; whoever owns that can say why"
        return Problem(code=problem.code, path="", detail=detail)


def unknown_grant(ref: str) -> Problem:
    """What is said of a grant that does not exist, or is not seen."""
    return Problem(code="grant_unknown", path=ref, detail=f"there is no grant `{ref}`")
