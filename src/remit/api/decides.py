"""What people do about tickets in other systems, carried out: `remit.notify.ports.Decides`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast, get_args

from remit.api.ticket_sight import TicketSight
from remit.grants.model import Actor, Problem
from remit.grants.ports import Remembered
from remit.grants.service import Authorship
from remit.kernel.clock import Clock
from remit.notify.ports import Intent
from remit.renewals.form import Form, FormError, read_form
from remit.renewals.model import Source, Ticket, TicketKind
from remit.renewals.service import LookAgain, TicketService
from remit.store.postgres_deliveries import link_thread
from remit.store.postgres_writes import PostgresWrites, WriteUnit

_MAX_REASON = 1_000
_KINDS: Mapping[TicketKind, str] = {
    "grant": "a new grant,",
    "renew": "a renewal of",
    "increase": "an increase of",
    "transfer": "a transfer of",
    "break_glass": "a break-glass of",
    "debt": "a debt of",
    "books": "the books, as",
    "finding": "a finding about",
}
_AGAIN = "edit the description and it is read again"
_HOW_TO_ASK = f"the form is in Remit's pages about connecting GitHub and Jira; {_AGAIN}"


class TicketDecisions:
    """Each intent is one write under its delivery's id: heard again, it is answered and not done again.

    The person has whatever authority they have here; where they said it adds none.
    """

    def __init__(
        self, writes: PostgresWrites, tickets_over: Callable[[WriteUnit], TicketService], clock: Clock
    ) -> None:
        self._writes = writes
        self._tickets_over = tickets_over
        self._clock = clock

    def carry_out(self, intent: Intent) -> str:
        """What became of it, for the person who wanted it."""
        if intent.action == "open":
            # An issue that was edited after its ticket was opened from it asks for nothing more.
            return "" if intent.ticket_id is not None else self._open(intent)
        assert intent.ticket_id is not None, "only what opens a ticket is about none"
        ticket_id = intent.ticket_id
        reason = _one_line(intent.text) or f"{intent.action} by {intent.source}"
        by = Authorship(actor=Actor(intent.person), reason=reason, idempotency_key=_key(intent))

        def do(unit: WriteUnit) -> tuple[str, dict[str, str]] | Problem:
            answer = _act(self._tickets_over(unit), ticket_id, intent, by)
            if isinstance(answer, LookAgain):
                said = f"{answer.problem.detail}{_set_again(intent)}"
                return said, {"said": said}
            if not isinstance(answer, Ticket):
                return answer[0]
            said = _said(answer, intent)
            return said, {"said": said}

        asked = {"operation": f"hook {intent.action}", "ticket": ticket_id, "actor": intent.person, "reason": reason}
        done = self._writes.once(by.idempotency_key, asked, do)
        if isinstance(done, Remembered):
            return str(done.answer["said"])
        return done.detail if isinstance(done, Problem) else done

    def _open(self, intent: Intent) -> str:
        """Opens the ticket that an issue asks for, which is where the ticket is kept from then on."""
        try:
            form = read_form(intent.text)
            done = self._writes.once(_key(intent), _asked(intent), lambda unit: self._opened(unit, form, intent))
        except FormError as error:
            return f"{error}; {_HOW_TO_ASK}"
        if isinstance(done, Remembered):
            return str(done.answer["said"])
        return f"{done.detail}: no ticket was opened; {_AGAIN}" if isinstance(done, Problem) else done

    def _opened(self, unit: WriteUnit, form: Form, intent: Intent) -> tuple[str, dict[str, str]] | Problem:
        tree, now = unit.tree(), self._clock.now()
        by = Authorship(actor=Actor(intent.person), reason=form.reason, idempotency_key=_key(intent))
        # Whoever may not see a grant learns nothing of it by asking. A new grant and a sibling may be unseen.
        sight = TicketSight(tree, replace(by.actor, roles=unit.standing(self._clock).roles(intent.person)))
        seen = sight.grants.find(form.about) if form.kind != "grant" else None
        if isinstance(seen, Problem):
            return seen
        asked = form.asked(tree, intent.person, now, _source(intent))
        if isinstance(asked, Problem):
            return asked
        origin = {"asked_in": {"channel": intent.source, "ref": intent.remote_ref}}
        answer = self._tickets_over(unit).open(replace(asked, evidence=origin), by)
        if not isinstance(answer, Ticket):
            return sight.grants.shown(answer)[0]
        if intent.remote_ref is not None:
            link_thread(unit.connection, intent.source, intent.remote_ref, answer.id)
        said = _is_open(answer, knows=sight.knows(answer))
        return said, {"said": said}


def _asked(intent: Intent) -> dict[str, str]:
    return {"operation": "hook open", "form": intent.text, "actor": intent.person}


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
    raise AssertionError(f"{intent.action} is no deed about a ticket")


def _is_open(ticket: Ticket, *, knows: bool) -> str:
    """What is said to who asked; the worst case only where they see what it is about."""
    if not ticket.is_open:
        return f"ticket {ticket.id}: {ticket.state} by {ticket.decided_by}: {ticket.decision_reason}"
    worst_case, asks = ticket.evidence["exposure"]["text"], "; ".join(ticket.evidence["asks"])
    what = f" ({asks}; {worst_case})" if knows else ""
    return (
        f"this is ticket {ticket.id} now, {_KINDS[ticket.kind]} {ticket.path}{what}; it waits for "
        f"{', '.join(ticket.assignees)} until {ticket.due_at:%Y-%m-%d %H:%M} UTC. The label `remit:approve` or "
        "`remit:decline` here decides it, set by whom it waits for"
    )


def _set_again(intent: Intent) -> str:
    """A label or a status that stands there already is not heard again."""
    match _source(intent):
        case "github":
            return ". Take the label `remit:approve` off and set it again to do so"
        case "jira":
            return (
                ". Take the label `remit:approve` off and set it again to do so, or move the issue back and here again"
            )
    return ""


def _said(ticket: Ticket, intent: Intent) -> str:
    if intent.action == "comment":
        return ""
    if ticket.is_open:
        return f"noted; {ticket.needed - len(ticket.approved_by)} more has to approve {ticket.path}"
    return f"{ticket.kind.replace('_', '-')} of {ticket.path}: {ticket.state} by {ticket.decided_by}"


def _source(intent: Intent) -> Source:
    """The kind of system, where the ticket's history knows it."""
    kind = intent.source.partition(":")[0]
    # What is done here is not said from elsewhere, whatever a channel is called.
    return cast(Source, kind) if kind in set(get_args(Source)) - {"command", "api"} else "remit"


def _key(intent: Intent) -> str:
    return f"hook:{intent.source}:{intent.delivery_id}:{intent.action}"[:200]


def _one_line(text: str) -> str:
    """A reason stands in histories that terminals show: on one line, without what a terminal would obey."""
    return "".join(one if one.isprintable() else " " for one in text).strip()[:_MAX_REASON]
