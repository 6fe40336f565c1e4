"""When a person leaves: what they own that lives, what nobody answers for then, and who is to be told."""

from collections.abc import Collection
from datetime import datetime

from remit.grants.model import Grant, same_person
from remit.grants.tree import Tree


def owned_by(tree: Tree, name: str, now: datetime) -> list[Grant]:
    """What has to have another owner when this person leaves: their grants that live, or are requested and may yet."""
    return [
        grant
        for grant in tree
        if same_person(grant.owner, name)
        and (grant.is_live(now) or (grant.status == "requested" and now < grant.expires_at))
        and all(node.status != "revoked" for node in tree.path_to(grant))
    ]


def ownerless(tree: Tree, left: Collection[str], now: datetime) -> list[Grant]:
    """The grants that live, themselves and all above them, whose owner is among those who left (names without case)."""
    return [
        grant
        for grant in tree
        if grant.owner.casefold() in left and all(node.is_live(now) for node in tree.path_to(grant))
    ]


def who_answers(tree: Tree, grant: Grant, left: Collection[str]) -> str | None:
    """The nearest owner above a grant who did not leave; None where there is none."""
    owners = (node.owner for node in reversed(tree.ancestors(grant)))
    return next((owner for owner in owners if owner.casefold() not in left), None)
