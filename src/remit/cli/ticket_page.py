"""How a ticket looks: as JSON and as a page, and one write of the queue from the command line."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from remit.cli.codes import EXIT_OK
from remit.grants.model import Problem, ProblemsError
from remit.grants.serialise import format_instant
from remit.grants.words import printable
from remit.kernel.money import format_usd

if TYPE_CHECKING:
    from remit.bootstrap import Authority
    from remit.cli.options import By
    from remit.grants.service import Authorship
    from remit.grants.tree import Tree
    from remit.renewals.model import Event, Ticket
    from remit.renewals.service import Asked, LookAgain, TicketService
    from remit.store.postgres_writes import WriteUnit


def write_ticket(
    authority: "Authority",
    by: "By | None",
    operation: str,
    asked: Mapping[str, Any],
    act: "Callable[[TicketService, Tree, Authorship], Ticket | LookAgain | Sequence[Problem]]",
    *,
    json: bool,
) -> int:
    """One write of the queue under its idempotency key; says what became of the ticket."""
    from remit.cli.once import write_once
    from remit.cli.options import By
    from remit.cli.output import print_json, refused
    from remit.grants.ports import Remembered
    from remit.renewals.model import Ticket
    from remit.renewals.service import LookAgain

    author = (by or By()).authorship(f"remit {operation}")

    def do(unit: "WriteUnit") -> "tuple[Ticket | LookAgain, dict[str, Any]]":
        answer = act(authority.tickets_over(unit), unit.tree(), author)
        if isinstance(answer, LookAgain):
            return answer, {"look_again": asdict(answer.problem)}
        if not isinstance(answer, Ticket):
            raise ProblemsError(answer)
        return answer, ticket_json(answer)

    try:
        done = write_once(authority, by, operation, asked, do)
    except ProblemsError as error:
        return refused(list(error.problems), json=json)
    if isinstance(done, Remembered) and "look_again" in done.answer:
        done = Problem(**done.answer["look_again"])
    if isinstance(done, LookAgain):
        done = done.problem
    if isinstance(done, Problem):
        return refused([done], json=json)
    body = dict(done.answer) if isinstance(done, Remembered) else ticket_json(done)
    if json:
        print_json({**body, "replayed": isinstance(done, Remembered)})
        return EXIT_OK
    waits = f"waits for {', '.join(body['assignees'])} until {body['due_at'][:16]}Z"
    ended = f"{body['state']} by {body['decided_by']}"
    print(f"ticket {body['id']} about {body['path']}: {waits if body['state'] == 'open' else ended}")
    if asked.get("suggested"):
        suggestion = body["evidence"]["suggestion"]
        print(f"{suggestion['text']}: {'asked for' if suggestion['taken'] else 'the limits stay'}")
    return EXIT_OK


def opening(
    asked: "Callable[[Tree], Asked | Problem]",
) -> "Callable[[TicketService, Tree, Authorship], Ticket | Sequence[Problem]]":
    """Opens what is asked about the tree."""

    def act(service: "TicketService", tree: "Tree", by: "Authorship") -> "Ticket | Sequence[Problem]":
        wanted = asked(tree)
        return [wanted] if isinstance(wanted, Problem) else service.open(wanted, by)

    return act


def ticket_json(ticket: "Ticket") -> dict[str, Any]:
    """Every field under its own name; instants in UTC."""
    plain = {name: getattr(ticket, name) for name in type(ticket).__dataclass_fields__ if name != "dedupe_key"}
    for name in ("opened_at", "due_at", "expires_at", "decided_at"):
        plain[name] = None if plain[name] is None else format_instant(plain[name])
    return plain | {"assignees": list(ticket.assignees), "approved_by": list(ticket.approved_by)}


def page(ticket: "Ticket", events: "Sequence[Event]") -> str:
    """The ticket as text: what is asked, what it changes, what was found about it, and what was said."""
    from remit.cli.output import moment_text

    lines = [f"{ticket.kind.replace('_', '-')} of {ticket.path}: {ticket.state}", f"  {ticket.id}, tier {ticket.tier}"]
    lines.append(f"  asked by {ticket.requester}: {printable(ticket.reason)}")
    lines += [f"  asks: {line}" for line in ticket.evidence.get("asks", ())]
    if ticket.is_open:
        lines.append(f"  waits for {', '.join(ticket.assignees)} until {moment_text(ticket.due_at)}")
        if ticket.needed > 1:
            lines.append(
                f"  takes {ticket.needed} people; approved so far by {', '.join(ticket.approved_by) or 'nobody'}"
            )
    exposure = ticket.evidence.get("exposure", {}).get("text")
    if exposure:
        lines.append(f"  worst case: {exposure}")
    lines += [f"  {line}" for line in _evidence_lines(ticket.evidence)]
    lines += [
        f"  {moment_text(event.at)} {event.who} {event.what}{f': {printable(event.text)}' if event.text else ''}"
        for event in events
    ]
    return "\n".join(lines)


def _evidence_lines(evidence: Mapping[str, Any]) -> list[str]:
    lines = []
    if suggestion := evidence.get("suggestion"):
        lines.append(f"{suggestion['text']}{': asked for' if suggestion['taken'] else ''}")
    for one in evidence.get("use", []):
        limit = "no limit" if one["limit_nanousd"] is None else format_usd(one["limit_nanousd"])
        forecast = "" if one["forecast_nanousd"] is None else f", on course for {format_usd(one['forecast_nanousd'])}"
        lines.append(
            f"{one['period']} from {one['start'][:10]}: {format_usd(one['posted_nanousd'])} of {limit}{forecast}"
        )
    for one in (evidence.get("outcomes") or {}).get("kinds", []):
        each = one["cost_per_success_nanousd"]
        cost = (
            "none succeeded" if each is None else f"{format_usd(each)} for each of {one['successes']:,} that succeeded"
        )
        lines.append(f"{one['kind']}, last {evidence['outcomes']['days']} days: {cost}, of {one['outcomes']:,}")
    lines += [
        f"{one['kind'].replace('_', ' ')} {one['count']} times, last {one['last_at'][:16]}Z"
        for one in evidence.get("refusals", [])
    ]
    return lines
