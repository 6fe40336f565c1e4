"""Who may ask for what, and who has a say in a ticket at all."""

from dataclasses import replace
from datetime import datetime

from remit.grants.model import Actor, Grant, Problem, same_person
from remit.grants.roles import may, reaches
from remit.grants.tree import Tree
from remit.kernel.money import format_usd
from remit.renewals.about import grant_of, path_of
from remit.renewals.deciders import subject_of
from remit.renewals.effects import (
    Acknowledge,
    BreakGlass,
    CreateGrant,
    Effect,
    MoveLimit,
    OfBooks,
    SettleDebt,
    effect_of,
)
from remit.renewals.model import SYSTEM, Policy, Ticket
from remit.renewals.ports import People, Tickets

MAX_OPEN_TICKETS = 100
"""Of one person: what waits is escalated with the whole tree held, and nobody's requests are to keep others from it."""


class Asking:
    """Over the tickets and people of one open transaction."""

    def __init__(self, tickets: Tickets, people: People, policy: Policy) -> None:
        self._tickets = tickets
        self._people = people
        self._policy = policy

    def problems(
        self, tree: Tree, effect: Effect, dedupe_key: str | None, actor: Actor, now: datetime
    ) -> list[Problem]:
        """Why somebody may not ask for this; `dedupe_key` is what at most one open ticket is about."""
        path = path_of(tree, effect)
        if not self._people.is_active(actor.name) and actor.name != SYSTEM:
            return [Problem(code="not_permitted", path=path, detail=f"`{actor.name}` has left")]
        standing = None if dedupe_key is None else self._tickets.open_with(dedupe_key)
        if standing is not None:
            kind = standing.kind.replace("_", "-")
            asked = ", ".join(standing.assignees)
            detail = f"a request of this kind ({kind}) is open already: ticket {standing.id}, which waits for {asked}"
            return [Problem(code="ticket_open_already", path=path, detail=detail)]
        wished = actor.name != SYSTEM and not isinstance(effect, SettleDebt | Acknowledge)
        if wished and self._tickets.waiting_of(actor.name) >= MAX_OPEN_TICKETS:
            detail = f"{MAX_OPEN_TICKETS} tickets of `{actor.name}` wait already; withdraw one, or wait for an answer"
            return [Problem(code="too_many_tickets", path=path, detail=detail)]
        grant = None if isinstance(effect, CreateGrant) else tree.find(grant_of(effect))
        known = isinstance(effect, CreateGrant) or grant is not None
        # A token that is held to one grant asks about nothing else.
        if not known or not reaches(actor, _place(tree, effect)):
            return [Problem(code="grant_unknown", path=path, detail=f"there is no grant `{path}`")]
        if grant is None:
            return []
        if isinstance(effect, BreakGlass):
            problems = self._break_glass_problems(grant, effect, now)
            if problems:
                return problems
        if isinstance(effect, OfBooks):
            if actor.within is None and may(replace(actor, roles=tuple(self._people.roles(actor.name))), "close_books"):
                return []
            detail = f"`{actor.name}` may not ask for changes of the books: that is for finance"
            return [Problem(code="not_permitted", path=grant.path, detail=detail)]
        if actor.is_admin or self._stands_at(tree, grant, actor.name, now):
            return []
        if isinstance(effect, MoveLimit) and self._stands_at(tree, tree[effect.target_id], actor.name, now):
            return []
        detail = (
            f"`{actor.name}` may not ask for `{grant.path}`: that is for its owner, {grant.owner}, or who stands above"
        )
        return [Problem(code="not_permitted", path=grant.path, detail=detail)]

    def speaking_problems(self, tree: Tree, ticket: Ticket, actor: Actor) -> list[Problem]:
        """Why somebody has no say in a ticket, whether or not it is theirs to decide."""
        if not self._people.is_active(actor.name):
            return [Problem(code="not_permitted", path=ticket.path, detail=f"`{actor.name}` has left")]
        if actor.within is None or reaches(actor, _place(tree, effect_of(ticket.effect))):
            return []
        return [unknown_ticket(ticket.id)]

    def _break_glass_problems(self, grant: Grant, effect: BreakGlass, now: datetime) -> list[Problem]:
        most, life = self._policy.break_glass_max_nanousd, self._policy.break_glass_max_life
        if not 0 < effect.amount_nanousd <= most:
            detail = f"a break-glass is for more than $0 and at most {format_usd(most)}"
            return [Problem(code="break_glass_too_large", path=grant.path, field="usd", detail=detail)]
        if not now < effect.ends_at <= now + life:
            hours = life.total_seconds() / 3600
            detail = f"a break-glass ends within {hours:g} hours"
            return [Problem(code="break_glass_too_long", path=grant.path, field="ends_at", detail=detail)]
        return []

    def _stands_at(self, tree: Tree, grant: Grant, name: str, now: datetime) -> bool:
        """Whether a person owns a grant or one above it, or stands in for who does."""
        return any(
            same_person(name, node.owner) or same_person(name, self._people.delegate_of(node.owner, now) or "")
            for node in tree.path_to(grant)
        )


def _place(tree: Tree, effect: Effect) -> tuple[Grant, ...]:
    """Where a request stands, root first: down to the grant it is about, or to that which a new one is to stand below."""
    grant = None if isinstance(effect, CreateGrant) else tree.find(grant_of(effect))
    return subject_of(tree, effect) if grant is None else tree.path_to(grant)


def unknown_ticket(ticket_id: str) -> Problem:
    """What is said of a ticket that does not exist, or is not seen."""
    return Problem(code="ticket_unknown", path="", field="ticket", detail=f"there is no ticket `{ticket_id}`")
