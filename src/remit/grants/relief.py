"""Who is charged less by what is booked: nobody decides that of what they answer for."""

from collections import Counter
from collections.abc import Mapping

from remit.grants.model import Grant
from remit.grants.tree import Tree


def relieved(tree: Tree, amounts: Mapping[str, int]) -> tuple[Grant, ...]:
    """The grants that are charged less, given what is booked on each by its id, in nano-USD, transfers included.

    A grant is when less is booked on itself, or all in all on it and what is below it: what moves from one of its children to
    another relieves the child and not the grant. What is booked above it does not change what a grant is charged.
    """
    within: Counter[str] = Counter()
    for grant_id, amount in amounts.items():
        grant = tree.find(grant_id)
        for node in () if grant is None else tree.path_to(grant):
            within[node.id] += amount
    return tuple(grant for grant in tree if amounts.get(grant.id, 0) < 0 or within[grant.id] < 0)
