"""Which tickets a person sees, and what of them: who asks need not see the grants that a request is about."""

from typing import Any

from remit.api.sight import Sight
from remit.grants.model import Actor, Grant, same_person
from remit.grants.roles import reaches
from remit.grants.tree import Tree
from remit.renewals.model import SYSTEM, Event, Ticket

_HIDDEN_COMMENT = "what it would give has changed since it was asked"


class TicketSight:
    """The part of the queue that one person sees. A token that is held to one grant shows what is about that, or below it."""

    def __init__(self, tree: Tree, actor: Actor) -> None:
        self._tree = tree
        self._actor = actor
        self.grants = Sight(tree, actor)

    def within(self) -> str | None:
        """The path that the token is held to, which is empty where there is no such grant; None where it is not held."""
        if self._actor.within is None:
            return None
        held = self._tree.find(self._actor.within)
        return "" if held is None else held.path

    def sees(self, ticket: Ticket) -> bool:
        """Whether the person is a party to it or sees its grant."""
        about = self._about(ticket)
        if not reaches(self._actor, () if about is None else self._tree.path_to(about)):
            return False
        return (
            self._actor.is_admin
            or self._is(ticket.requester, *ticket.assignees)
            or (ticket.grant_id is not None and isinstance(self.grants.find(ticket.grant_id), Grant))
        )

    def knows(self, ticket: Ticket) -> bool:
        """Whether the person is shown what was gathered for the decision: it is theirs, or they see what it is about."""
        about = self._about(ticket)
        return self._is(*ticket.assignees, *ticket.approved_by) or (about is not None and self.grants.sees(about))

    def evidence(self, ticket: Ticket) -> dict[str, Any]:
        """The evidence without what it says about stored grants that the person does not see."""
        stated = dict(ticket.evidence)
        if self._is(*ticket.assignees, *ticket.approved_by):
            return stated
        done = dict(stated.get("done", {}))
        if not self.knows(ticket):
            stated = {name: stated[name] for name in ("asked_in", "raises", "done") if name in stated}
            done.pop("exposure", None)
        for part in (stated, done):
            for name in part.keys() & {"raises", "raised", "grants"}:
                part[name] = [one for one in part[name] if isinstance(self.grants.find(one["path"]), Grant)]
        return {**stated, "done": done} if "done" in stated else stated

    def text(self, ticket: Ticket, event: Event) -> str:
        """What an event says; a change of the figures is said in figures only to who is shown them."""
        hidden = event.who == SYSTEM and event.what == "commented" and not self.knows(ticket)
        return _HIDDEN_COMMENT if hidden else event.text

    def _about(self, ticket: Ticket) -> Grant | None:
        """The grant it is about; of a new one, that which it is to stand below."""
        return self._tree.find(ticket.grant_id or ticket.path.rpartition("/")[0])

    def _is(self, *names: str) -> bool:
        return any(same_person(self._actor.name, name) for name in names)
