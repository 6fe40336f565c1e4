"""What people do about tickets in other systems, carried out: `remit.notify.ports.Decides`."""

from collections.abc import Callable
from typing import cast, get_args

from remit.grants.model import Actor, Problem
from remit.grants.ports import Remembered
from remit.grants.service import Authorship
from remit.notify.ports import Intent
from remit.renewals.model import Source, Ticket
from remit.renewals.service import LookAgain, TicketService
from remit.store.postgres_writes import PostgresWrites, WriteUnit

_MAX_REASON = 1_000


class TicketDecisions:
    """Each intent is one write under its delivery's id: heard again, it is answered and not done again.

    The person has whatever authority they have here; where they said it adds none.
    """

    def __init__(self, writes: PostgresWrites, tickets_over: Callable[[WriteUnit], TicketService]) -> None:
        self._writes = writes
        self._tickets_over = tickets_over

    def carry_out(self, intent: Intent) -> str:
        """What became of it, for the person who wanted it."""
        if intent.ticket_id is None:
            return "this asks for nothing that is known here: a request for a grant is made with `remit ticket request`"
        ticket_id = intent.ticket_id
        reason = _one_line(intent.text) or f"{intent.action} by {intent.source}"
        by = Authorship(actor=Actor(intent.person), reason=reason, idempotency_key=_key(intent))

        def do(unit: WriteUnit) -> tuple[str, dict[str, str]] | Problem:
            answer = _act(self._tickets_over(unit), ticket_id, intent, by)
            if isinstance(answer, LookAgain):
                return answer.problem.detail, {"said": answer.problem.detail}
            if not isinstance(answer, Ticket):
                return answer[0]
            said = _said(answer, intent)
            return said, {"said": said}

        asked = {"operation": f"hook {intent.action}", "ticket": ticket_id, "actor": intent.person, "reason": reason}
        done = self._writes.once(by.idempotency_key, asked, do)
        if isinstance(done, Remembered):
            return str(done.answer["said"])
        return done.detail if isinstance(done, Problem) else done


def _act(service: TicketService, ticket_id: str, intent: Intent, by: Authorship) -> Ticket | LookAgain | list[Problem]:
    source = _source(intent)
    match intent.action:
        case "approve":
            return service.approve(ticket_id, by, source)
        case "decline":
            return service.decline(ticket_id, by, source)
        case "withdraw":
            return service.withdraw(ticket_id, by, source)
        case "comment":
            return service.comment(ticket_id, intent.text, by, source)
        case _:
            detail = f"ticket {ticket_id} cannot be opened again; ask anew"
            return [Problem(code="ticket_not_open", path="", detail=detail)]


def _said(ticket: Ticket, intent: Intent) -> str:
    if intent.action == "comment":
        return ""
    if ticket.is_open:
        return f"noted; {ticket.needed - len(ticket.approved_by)} more has to approve {ticket.path}"
    return f"{ticket.kind.replace('_', '-')} of {ticket.path}: {ticket.state} by {ticket.decided_by}"


def _source(intent: Intent) -> Source:
    """The kind of system, where the ticket's history knows it."""
    kind = intent.source.partition(":")[0]
    return cast(Source, kind) if kind in get_args(Source) else "remit"


def _key(intent: Intent) -> str:
    return f"hook:{intent.source}:{intent.delivery_id}:{intent.action}"[:200]


def _one_line(text: str) -> str:
    """A reason stands in histories that terminals show: on one line, without what a terminal would obey."""
    return "".join(one if one.isprintable() else " " for one in text).strip()[:_MAX_REASON]
