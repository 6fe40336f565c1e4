"""Who has no say in what is booked: those who want it, those who worked it out, and those who are charged less by it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from remit.grants.model import same_person
from remit.grants.relief import relieved
from remit.grants.tree import Tree
from remit.renewals.ports import People, Proposal


@dataclass(frozen=True, slots=True)
class Barred:
    """Somebody who has no say, and why not."""

    name: str
    why: str


def relieved_people(tree: Tree, amounts: Mapping[str, int], people: People, now: datetime) -> list[Barred]:
    """Who owns a grant that is charged less by these amounts (nano-USD by grant), and whoever stands in for them now."""
    found = []
    for grant in relieved(tree, amounts):
        found += _with_stand_in(Barred(grant.owner, f"`{grant.path}` is charged less by it"), people, now)
    return found


def barred_from_books(
    tree: Tree, requester: str, proposal: Proposal | None, people: People, now: datetime
) -> list[Barred]:
    """Who does not decide about the books: who asked, and of a proposal who compared and who is charged less by it.

    Neither does whoever stands in for one of them at the moment.
    """
    found = _with_stand_in(Barred(requester, "nobody decides their own request"), people, now)
    if proposal is None:
        return found
    compared = Barred(
        proposal.made_by, "they made the comparison that proposes it, and what is booked takes two people"
    )
    return found + _with_stand_in(compared, people, now) + relieved_people(tree, proposal.amounts, people, now)


def why_barred(name: str, barred: Sequence[Barred]) -> str | None:
    """Why somebody has no say; None where they may have one."""
    return next((one.why for one in barred if same_person(one.name, name)), None)


def _with_stand_in(one: Barred, people: People, now: datetime) -> list[Barred]:
    stand_in = people.delegate_of(one.name, now)
    return [one] if stand_in is None else [one, Barred(stand_in, f"they stand in for `{one.name}`: {one.why}")]
