"""What the routes of tickets take in and give out."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from remit.api.answers import Given
from remit.api.bodies import Amount, Body, Instant, LimitBody, Limits, Reason, Text
from remit.api.ticket_sight import TicketSight
from remit.renewals.model import Event, Source, Ticket, TicketKind, TicketState, Tier, What
from remit.renewals.requests import LimitChanges

SomeLimits = Annotated[tuple[LimitBody, ...], Meta(min_length=1, max_length=200)]


class AskRenewal(Body, frozen=True, kw_only=True):
    """A later expiry of a grant (id or path), and new amounts of its limits: those stated, or those its use suggests."""

    grant: Text
    expires_at: Instant
    reason: Reason
    limits: Limits = ()
    suggested: bool = False

    def asked(self) -> dict[str, Any]:
        # Left out where it is not wanted, as it was before there was such a thing: a repetition stays the same request.
        return {name: one for name, one in super().asked().items() if name != "suggested" or one}


class AskIncrease(Body, frozen=True, kw_only=True):
    """New amounts of a grant's limits; those left out stay."""

    grant: Text
    limits: SomeLimits
    reason: Reason


class AskTransfer(Body, frozen=True, kw_only=True):
    """A part of one grant's limit for its sibling."""

    source: Text
    target: Text
    limit: LimitBody
    reason: Reason


class AskBreakGlass(Body, frozen=True, kw_only=True):
    """More usd in every period until an instant, in an emergency."""

    grant: Text
    amount_nanousd: Amount
    ends_at: Instant
    reason: Reason


class Comment(Body, frozen=True, kw_only=True):
    """Something to say about a ticket."""

    text: Annotated[str, Meta(min_length=1, max_length=10_000)]


class Reassign(Body, frozen=True, kw_only=True):
    """Somebody else who may decide it."""

    to: Text
    reason: Reason


def changes(limits: tuple[LimitBody, ...]) -> LimitChanges:
    """New amounts by dimension and period."""
    return {(one.dimension, one.period): one.amount for one in limits}


class EventGiven(Given, frozen=True, kw_only=True):
    """One thing that happened to a ticket."""

    at: datetime
    who: str
    what: What
    text: str
    source: Source


class TicketGiven(Given, frozen=True, kw_only=True):
    """A request for a decision. `effect` is what an approval carries out, `evidence` what was gathered about it.

    Of grants that the caller does not see the evidence says something only to whom the ticket waits for.
    """

    id: str
    kind: TicketKind
    state: TicketState
    tier: Tier
    grant_id: str | None
    path: str
    requester: str
    assignees: list[str]
    approved_by: list[str]
    needed: int
    level: int
    reason: str
    opened_at: datetime
    due_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    decision_reason: str | None
    effect: dict[str, Any]
    evidence: dict[str, Any]
    revision: int
    events: list[EventGiven] | msgspec.UnsetType = msgspec.UNSET


class TicketPage(Given, frozen=True, kw_only=True):
    """Tickets in the order of their ids; ask on with `after=next`."""

    tickets: list[TicketGiven]
    next: str | None


def ticket_given(sight: TicketSight, ticket: Ticket, events: list[Event] | None = None) -> TicketGiven:
    """The ticket as it is given out to this person, with what happened to it where that is known."""
    names = set(TicketGiven.__struct_fields__) - {"assignees", "approved_by", "effect", "evidence", "events"}
    given = [
        EventGiven(at=one.at, who=one.who, what=one.what, text=sight.text(ticket, one), source=one.source)
        for one in events or ()
    ]
    return TicketGiven(
        assignees=list(ticket.assignees),
        approved_by=list(ticket.approved_by),
        effect=dict(ticket.effect),
        evidence=sight.evidence(ticket),
        events=msgspec.UNSET if events is None else given,
        **{name: getattr(ticket, name) for name in names},
    )
