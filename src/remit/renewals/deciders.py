"""Who is asked, who may decide, and who comes next when nobody answers.

Level 0 is the owner of the nearest grant above whose word is enough; level 1 the rota: people who hold the role of an
approver there or above; level 2 the owners of the organisation. Nobody is asked about their own request, and who stands in for the
requester does not stand in for them there.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from remit.grants.model import Actor, Grant, same_person
from remit.grants.roles import may, reaches
from remit.grants.tree import Tree
from remit.renewals.effects import (
    Acknowledge,
    CloseMonth,
    CreateGrant,
    Effect,
    MoveLimit,
    OfBooks,
    PostAdjustments,
    ReopenMonth,
    SettleDebt,
    effect_of,
)
from remit.renewals.model import Ticket, TicketKind
from remit.renewals.ports import People

_BY_WORD_ALONE: Final[frozenset[TicketKind]] = frozenset({"debt", "break_glass", "finding"})
"""Where the write of one approval judges nobody's authority, so that having been asked once is not enough."""


def subject_of(tree: Tree, effect: Effect) -> tuple[Grant, ...]:
    """The grants above what an effect writes, root first: whose owners may be asked. Empty for what stands at the top.

    What is moved is the source's to give, a finding is its own owner's to look at: there the grant itself comes last.
    """
    if isinstance(effect, CreateGrant):
        parent = tree.at_path(effect.new.path.rpartition("/")[0])
        return () if parent is None else tree.path_to(parent)
    if isinstance(effect, MoveLimit):
        return tree.path_to(tree[effect.source_id])
    grant = tree.find(effect.about if isinstance(effect, Acknowledge) else effect.grant_id)
    if grant is None:
        return ()
    return tree.path_to(grant) if isinstance(effect, Acknowledge | OfBooks) else tree.ancestors(grant)


def levels(  # noqa: PLR0917 - one parameter per thing that decides who is asked
    above: Sequence[Grant], requester: str, effect: Effect, people: People, enough: Callable[[str], bool], now: datetime
) -> list[list[str]]:
    """The people to ask, level by level, without the empty levels. A person who is away is stood in for.

    `enough` tells whether somebody's word would do: an owner whose own boundary is in the way is passed over.
    """
    owners: list[str] = []
    # Whoever spends has no say in what is booked: the books are everybody's.
    for grant in () if isinstance(effect, OfBooks) else reversed(above):
        asked = [name for name in _present(people, [grant.owner], requester, now) if enough(name)]
        if asked:
            owners = asked
            break
    ids = [grant.id for grant in above]
    match effect:
        case SettleDebt():
            rota = people.finance(ids)
        case PostAdjustments() | ReopenMonth() | CloseMonth():
            rota = people.finance(())
        case _:
            rota = people.rota(ids)
    steps = [owners, _present(people, rota, requester, now), _present(people, people.org_owners(), requester, now)]
    found: list[list[str]] = []
    for step in steps:
        known = {name.casefold() for level in found for name in level}
        fresh = [name for name in step if name.casefold() not in known]
        if fresh:
            found.append(fresh)
    return found


def first_asked(steps: Sequence[Sequence[str]], needed: int) -> tuple[int, tuple[str, ...]]:
    """The level a ticket begins at, and whom it waits for: as many levels at once as it takes to have so many people."""
    asked: dict[str, str] = {}
    for level, step in enumerate(steps):
        asked |= {name.casefold(): name for name in step if name.casefold() not in asked}
        if len(asked) >= needed:
            return level, tuple(asked.values())
    return len(steps) - 1, tuple(asked.values())


def authority(actor: Actor, above: Sequence[Grant], requester: str, people: People, now: datetime) -> Actor:
    """A person with all the authority they have over what stands above: roles, as approver, and standing in for owners.

    Not for the requester: nobody names who decides their own request. A token that is held to one grant stays held to it.
    """
    org = any(same_person(actor.name, one) for one in people.org_owners())
    ids = [grant.id for grant in above]
    owners = [grant for grant in above if not same_person(grant.owner, requester)]
    stood_in = {grant.id for grant in owners if same_person(people.delegate_of(grant.owner, now) or "", actor.name)}
    acts_for = actor.acts_for | people.acts_for(actor.name, ids) | stood_in
    roles = tuple(people.roles(actor.name))
    if actor.within is None:
        return replace(actor, is_admin=actor.is_admin or org, acts_for=acts_for, roles=roles)
    reached = ids[ids.index(actor.within) :] if actor.within in ids else []
    return replace(actor, acts_for=acts_for & frozenset(reached), roles=roles)


def joint_authority(  # noqa: PLR0917 - one parameter per thing that decides what they may
    approved_by: Sequence[str], above: Sequence[Grant], requester: str, last: Actor, people: People, now: datetime
) -> Actor:
    """The last to approve, with what all who did stand for: a break-glass is the word of two."""
    own = authority(last, above, requester, people, now)
    if len(approved_by) == 1:
        return own
    others = [authority(Actor(name), above, requester, people, now) for name in approved_by[:-1]]
    names = {name.casefold() for name in approved_by}
    owned = frozenset(grant.id for grant in above if grant.owner.casefold() in names)
    admin = own.within is None and any(one.is_admin for one in (own, *others))
    return replace(own, is_admin=admin, acts_for=own.acts_for.union(owned, *(one.acts_for for one in others)))


def may_decide(ticket: Ticket, above: Sequence[Grant], actor: Actor, people: People, now: datetime) -> bool:
    """Whether this person's word counts for a ticket of somebody else: they stand above it, or were asked.

    What their approval carries out is judged as their own write besides. Where it is not, who was asked has to be one who
    would be asked now as well: a role, an ownership or a time of standing in that has ended decides nothing.
    """
    if same_person(actor.name, ticket.requester) or not people.is_active(actor.name):
        return False
    if actor.read_only or not reaches(actor, above):
        return False
    if actor.is_admin:
        return True
    if ticket.kind == "books":
        return actor.within is None and may(actor, "decide_books")
    asked = any(same_person(actor.name, name) for name in ticket.assignees)
    if ticket.kind in _BY_WORD_ALONE:
        asked = asked and _would_be_asked(ticket, above, actor.name, people, now)
    return (
        asked
        or any(same_person(actor.name, grant.owner) or grant.id in actor.acts_for for grant in above)
        or may(actor, "decide_tickets", above)
        or (ticket.kind == "debt" and may(actor, "decide_debt", above))
    )


def _would_be_asked(ticket: Ticket, above: Sequence[Grant], name: str, people: People, now: datetime) -> bool:
    steps = levels(above, ticket.requester, effect_of(ticket.effect), people, lambda _: True, now)
    return any(same_person(name, one) for step in steps for one in step)


def _present(people: People, names: Sequence[str], requester: str, now: datetime) -> list[str]:
    """Those of them who are there to answer, or whoever stands in for them; never the requester."""
    found: dict[str, str] = {}
    for name in names:
        stand_in = people.delegate_of(name, now) or name
        if people.is_active(stand_in) and not same_person(stand_in, requester) and not same_person(name, requester):
            found.setdefault(stand_in.casefold(), stand_in)
    return list(found.values())
