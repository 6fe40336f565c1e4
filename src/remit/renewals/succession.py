"""What becomes of open tickets when somebody leaves, in the transaction in which they leave.

What waited for them goes to whoever is next, at once. What they asked for about a grant is its new owner's request; about a
grant without one, and for a grant that is not there yet, it is withdrawn: nobody is left to answer for it.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from remit.grants.model import same_person
from remit.grants.service import Authorship
from remit.grants.tree import Tree
from remit.kernel.clock import Clock
from remit.renewals.about import grant_of
from remit.renewals.effects import CreateGrant, Effect, MoveLimit, effect_of
from remit.renewals.model import SYSTEM, Ticket
from remit.renewals.ports import People, Tickets
from remit.renewals.scribe import Scribe
from remit.renewals.service import TicketService
from remit.renewals.writes import ReadTree

_WISHED_BY_NOBODY = ("debt", "finding")


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """Ids of tickets that somebody else answers for now, and of those that were withdrawn."""

    handed_on: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()


class Succession:
    """Over parts that are bound to one open transaction, in which the person has left already."""

    def __init__(
        self, tickets: Tickets, people: People, service: TicketService, read_tree: ReadTree, clock: Clock
    ) -> None:
        self._tickets = tickets
        self._scribe = Scribe(tickets, clock)
        self._people = people
        self._service = service
        self._read_tree = read_tree
        self._clock = clock

    def left(self, name: str, stand_in: str | None, by: Authorship) -> Handed:
        """Hands on what waits for a person who left, and for who stood in for them; and what they asked for."""
        tree, handed, withdrawn = self._read_tree(), [], []
        for ticket in self._tickets.all_open():
            why = self._why_withdrawn(tree, ticket, name)
            if why is not None:
                self._withdraw(ticket, f"{why}: {by.reason}", by)
                withdrawn.append(ticket.id)
                continue
            requester = ticket.requester
            if same_person(requester, name):
                requester = self._heir(tree, effect_of(ticket.effect)) or requester
            gone = self._gone(ticket, name, stand_in)
            if requester != ticket.requester or gone or any(same_person(one, name) for one in ticket.approved_by):
                self._hand_on(ticket, requester, [*gone, name, requester], by)
                handed.append(ticket.id)
        return Handed(handed_on=tuple(handed), withdrawn=tuple(withdrawn))

    def _why_withdrawn(self, tree: Tree, ticket: Ticket, name: str) -> str | None:
        effect = effect_of(ticket.effect)
        if isinstance(effect, CreateGrant):
            if same_person(effect.new.owner, name):
                return f"`{effect.new.path}` would belong to `{name}`, who left"
            return f"`{name}`, who asked for it, left" if same_person(ticket.requester, name) else None
        if ticket.kind in _WISHED_BY_NOBODY or not same_person(ticket.requester, name):
            return None
        return None if self._heir(tree, effect) else f"`{name}`, who asked for it, left, and nobody has its grant now"

    def _heir(self, tree: Tree, effect: Effect) -> str | None:
        """Who owns now what a request was made for, if they are here; of a transfer, that which gets."""
        grant = tree.find(effect.target_id if isinstance(effect, MoveLimit) else grant_of(effect))
        return grant.owner if grant is not None and self._people.is_active(grant.owner) else None

    def _gone(self, ticket: Ticket, name: str, stand_in: str | None) -> list[str]:
        """Those it waits for who are not to be waited for any more."""
        now = self._clock.now()
        return [
            one
            for one in ticket.assignees
            if same_person(one, name)
            or (stand_in is not None and same_person(one, stand_in) and not self._service.stands(one, ticket, now))
        ]

    def _withdraw(self, ticket: Ticket, why: str, by: Authorship) -> None:
        ended = replace(by, reason=why[:2_000])
        told = [*ticket.assignees, ticket.requester]
        self._scribe.end(ticket, "withdrawn", ended, "remit", {}, [one for one in told if self._people.is_active(one)])

    def _hand_on(self, ticket: Ticket, requester: str, without: Collection[str], by: Authorship) -> None:
        """To those of its level who are left, else to whoever is next; a word of who left counts no more."""
        now = self._clock.now()
        asked = replace(
            ticket,
            requester=requester,
            approved_by=tuple(one for one in ticket.approved_by if not _among(one, without)),
            assignees=tuple(one for one in ticket.assignees if not _among(one, without)),
            revision=ticket.revision + 1,
        )
        fresh: tuple[str, ...] = ()
        if not asked.assignees:
            steps = self._service.steps(replace(asked, assignees=ticket.assignees), now)
            if not steps:
                # Nobody could decide it: an admin who comes later asks anew.
                nobody = replace(by, reason="nobody is left who could decide it")
                told = [requester] if self._people.is_active(requester) else []
                self._scribe.end(replace(asked, assignees=ticket.assignees), "expired", nobody, "remit", {}, told)
                return
            level = min(ticket.level, len(steps) - 1)
            fresh = tuple(steps[level])
            asked = replace(asked, level=level, assignees=fresh, due_at=self._service.due(ticket, now))
        self._tickets.update(asked)
        text = f"to {', '.join(asked.assignees)}: {by.reason}"
        if requester != ticket.requester:
            text = f"asked by {requester} instead of {ticket.requester}; {text}"
        self._scribe.record(asked, by.actor.name, "reassigned", text)
        self._scribe.tell(asked, "ticket_opened", fresh, number=asked.revision)
        if requester not in (ticket.requester, SYSTEM):
            number = len(self._tickets.events(ticket.id))
            self._scribe.tell(asked, "ticket_commented", [requester], number=number, text=text, who=by.actor.name)


def _among(name: str, names: Collection[str]) -> bool:
    return any(same_person(name, one) for one in names)
