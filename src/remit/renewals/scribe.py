"""What every step of a ticket leaves behind: its next revision, an event, and a notification to whom it concerns."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from remit.grants.service import Authorship
from remit.kernel.clock import Clock
from remit.renewals.effects import BreakGlass, effect_of
from remit.renewals.model import ASKING, SYSTEM, Event, Source, Ticket, What
from remit.renewals.ports import Notice, Tickets

Ended = Literal["approved", "declined", "withdrawn", "expired"]


class Scribe:
    """Over the tickets of one open transaction."""

    def __init__(self, tickets: Tickets, clock: Clock) -> None:
        self._tickets = tickets
        self._clock = clock

    def end(  # noqa: PLR0917 - one parameter per thing that an end is made of
        self,
        ticket: Ticket,
        state: Ended,
        by: Authorship,
        source: Source,
        done: Mapping[str, Any],
        told: Sequence[str] | None = None,
    ) -> Ticket:
        """Ends a ticket. Whoever asked is told, unless it is said who is."""
        ended = replace(
            ticket,
            state=state,
            decided_at=self._clock.now(),
            decided_by=by.actor.name,
            decision_reason=by.reason,
            evidence={**ticket.evidence, "done": dict(done)} if done else ticket.evidence,
            revision=ticket.revision + 1,
        )
        self._tickets.update(ended)
        self.record(ended, by.actor.name, state, by.reason, source)
        if isinstance(effect_of(ticket.effect), BreakGlass) and state == "approved":
            self._tickets.begin_break_glass(ended)
        told = [ticket.requester] if told is None else told
        kind = "ticket_expired" if state == "expired" else "ticket_decided"
        self.tell(ended, kind, [name for name in told if name != SYSTEM])
        return ended

    def record(self, ticket: Ticket, who: str, what: What, text: str, source: Source = "remit") -> None:
        """Appends an event."""
        event = Event(ticket_id=ticket.id, at=self._clock.now(), who=who, what=what, text=text, source=source)
        self._tickets.record(event)

    def tell(
        self,
        ticket: Ticket,
        kind: str,
        recipients: Sequence[str],
        *,
        number: int = 0,
        text: str | None = None,
        who: str | None = None,
    ) -> None:
        """Notifies people by name; once for a ticket, kind and number."""
        if not recipients:
            return
        body = {
            "ticket": ticket.id,
            "ticket_kind": ticket.kind,
            "state": ticket.state,
            "path": ticket.path,
            "requester": ticket.requester,
            "assignees": list(ticket.assignees),
            "due_at": ticket.due_at.isoformat(),
            # For whom it is asked: who asked may not see the grants whose limits it comes from.
            "exposure": ticket.evidence.get("exposure", {}).get("text") if kind in ASKING else None,
            "asks": ticket.evidence.get("asks") if kind in ASKING else None,
            "reason": ticket.reason,
            "decided_by": ticket.decided_by,
            "decision_reason": ticket.decision_reason,
            "by": who,
            "text": text,
        }
        stated = {name: value for name, value in body.items() if value is not None}
        self._tickets.notify(
            Notice(
                kind=kind,
                grant_id=ticket.grant_id or "",
                recipients=tuple(recipients),
                body=stated,
                ticket_id=ticket.id,
                number=number,
            )
        )
