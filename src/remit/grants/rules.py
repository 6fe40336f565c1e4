"""The rules every write path goes through: judge the tree as it would be after the write."""

from collections.abc import Iterable
from datetime import datetime

from remit.grants.containment import containment_problems, term_problems
from remit.grants.fields import field_problems
from remit.grants.model import Grant, Problem
from remit.grants.shares import share_problems
from remit.grants.tree import Tree


def tree_problems(tree: Tree, touched: Iterable[str], now: datetime) -> list[Problem]:
    """What is wrong with a tree in which the grants with these ids were written.

    A write can break its own grant, everything that lives below it (a parent is narrowed) and the sums of
    everything above it; all of that is judged, whatever kind of write it was. The written grants
    are well formed (`field_problems`). Sorted by path.
    """
    contained: dict[str, Grant] = {}
    summed: dict[str, Grant] = {}
    for grant in map(tree.__getitem__, touched):
        summed |= {node.id: node for node in tree.path_to(grant)}
        if grant.status == "revoked":
            continue
        contained[grant.id] = grant
        if grant.is_live(now):
            below = {node.id: node for node in tree.live_below(grant.id, now)}
            contained |= below
            summed |= below
    problems = [problem for grant in contained.values() for problem in containment_problems(tree, grant)]
    problems += [problem for grant in summed.values() for problem in share_problems(tree, grant, now)]
    return sorted(problems, key=lambda one: (one.path, one.code, one.field or ""))


def state_problems(tree: Tree, grants: list[Grant], now: datetime) -> list[Problem]:
    """Everything but permission that forbids writing these grants together.

    `tree` is the tree before the write; a grant whose id it does not hold is new.
    """
    # Names, numbers and instants that mean nothing cannot be compared, so they are answered first.
    problems = [problem for grant in grants for problem in [*field_problems(grant), *_path_problems(tree, grant)]]
    if problems:
        return problems
    after = tree.with_grants(grants)
    for grant in grants:
        old = tree.find(grant.id)
        if old is None:
            problems += _create_problems(after, grant, now)
        else:
            problems += change_problems(tree, old)
        if grant.status != "revoked":
            problems += _written_term_problems(after, old, grant, now)
    return problems or tree_problems(after, [grant.id for grant in grants], now)


def change_problems(tree: Tree, grant: Grant) -> list[Problem]:
    """What forbids any change of a grant: its own revocation or one above it, which are final."""
    for node in tree.path_to(grant):
        if node.status == "revoked":
            detail = f"`{grant.path}` cannot change: `{node.path}` is revoked, and that is final"
            return [Problem(code="grant_revoked", path=grant.path, detail=detail)]
    return []


def _path_problems(tree: Tree, grant: Grant) -> list[Problem]:
    taken = tree.at_path(grant.path)
    if taken is None or taken.id == grant.id:
        return []
    again = ", and a path is never used again" if taken.status == "revoked" else ""
    detail = f"`{grant.path}` stands already and is {taken.status}{again}"
    return [Problem(code="path_taken", path=grant.path, field="path", detail=detail)]


def _create_problems(after: Tree, grant: Grant, now: datetime) -> list[Problem]:
    """What makes a new grant dead on arrival: something inactive above it, or its own expiry."""
    problems = []
    for node in after.ancestors(grant):
        if node.status != "active" or now >= node.expires_at:
            state = node.status if node.status != "active" else "expired"
            detail = f"nothing is created below `{node.path}`, which is {state}"
            problems.append(Problem(code="parent_inactive", path=grant.path, detail=detail))
    if grant.expires_at <= now:
        detail = f"`{grant.path}` would have expired before it is written"
        problems.append(Problem(code="already_expired", path=grant.path, field="expires_at", detail=detail))
    return problems


def _written_term_problems(after: Tree, old: Grant | None, new: Grant, now: datetime) -> list[Problem]:
    """The term rule, for a write that hands on time: a new grant, a later expiry, a request that becomes active."""
    if old is not None and new.expires_at <= old.expires_at and old.status != "requested":
        return []
    return term_problems(after, new, now)
