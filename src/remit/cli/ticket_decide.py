"""`remit ticket show`, `approve`, `decline`, `withdraw`, `comment` and `reassign`."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from remit.cli.codes import EXIT_DIFFERENCES, EXIT_OK, CommandError
from remit.cli.options import By, Json, Where

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from remit.grants.model import Problem
    from remit.grants.service import Authorship
    from remit.renewals.model import Ticket
    from remit.renewals.service import LookAgain, TicketService

_Id = Annotated[str, Parameter(name="ticket", help="Id of the ticket, as `remit queue` shows it.")]
_Ids = Annotated[tuple[str, ...], Parameter(name="ticket", help="Ids of tickets, as `remit queue` shows them.")]


def show(ticket: _Id, /, *, json: Json = False, where: Where | None = None) -> int:
    """Show a ticket: what is asked, what it changes, the evidence, and everything that was said."""
    from remit.cli.output import print_json
    from remit.cli.session import open_authority
    from remit.cli.ticket_page import page, ticket_json
    from remit.grants.serialise import format_instant

    found = open_authority(where).ticket(ticket)
    if found is None:
        raise CommandError(f"there is no ticket `{ticket}`", EXIT_DIFFERENCES)
    one, events = found
    if json:
        said = [
            {
                "at": format_instant(event.at),
                "who": event.who,
                "what": event.what,
                "text": event.text,
                "source": event.source,
            }
            for event in events
        ]
        print_json({**ticket_json(one), "events": said})
    else:
        print(page(one, events))
    return EXIT_OK


def approve(ticket: _Ids, /, *, json: Json = False, by: By | None = None, where: Where | None = None) -> int:
    """Approve tickets, several with one reason at the end of a quarter; each is carried out with its approval."""
    return _each(
        "approve", ticket, lambda service, one, author: service.approve(one, author, "command"), json, by, where
    )


def decline(ticket: _Ids, /, *, json: Json = False, by: By | None = None, where: Where | None = None) -> int:
    """Decline tickets; what was asked for stays undone."""
    return _each(
        "decline", ticket, lambda service, one, author: service.decline(one, author, "command"), json, by, where
    )


def withdraw(ticket: _Ids, /, *, json: Json = False, by: By | None = None, where: Where | None = None) -> int:
    """Take back what one asked for."""
    return _each(
        "withdraw", ticket, lambda service, one, author: service.withdraw(one, author, "command"), json, by, where
    )


def comment(
    ticket: _Id,
    text: Annotated[str, Parameter(help="What to say.")],
    /,
    *,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Add to the thread of a ticket; the others in it are told."""
    from remit.cli.session import open_authority
    from remit.cli.ticket_page import write_ticket

    authority = open_authority(where)
    asked = {"ticket": ticket, "text": text}
    return write_ticket(
        authority,
        by,
        "ticket comment",
        asked,
        lambda service, _tree, author: service.comment(ticket, text, author, "command"),
        json=json,
    )


def reassign(
    ticket: _Id,
    to: Annotated[str, Parameter(help="E-mail address of somebody who may decide it.")],
    /,
    *,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Hand a ticket to somebody else who may decide it."""
    from remit.cli.session import open_authority
    from remit.cli.ticket_page import write_ticket

    authority = open_authority(where)
    return write_ticket(
        authority,
        by,
        "ticket reassign",
        {"ticket": ticket, "to": to},
        lambda service, _tree, author: service.reassign(ticket, to, author, "command"),
        json=json,
    )


def _each(  # noqa: PLR0917 - one parameter per part of the command
    verb: str,
    tickets: tuple[str, ...],
    act: "Callable[[TicketService, str, Authorship], Ticket | LookAgain | Sequence[Problem]]",
    json: bool,
    by: By | None,
    where: Where | None,
) -> int:
    """One transaction for each ticket: what does not fit any more does not undo the others."""
    from dataclasses import replace

    from remit.cli.session import open_authority
    from remit.cli.ticket_page import write_ticket

    if not tickets:
        raise CommandError("name at least one ticket; `remit queue` lists them")
    authority, code, by = open_authority(where), EXIT_OK, by or By()
    for one in tickets:
        own = by
        if by.idempotency_key is not None and len(tickets) > 1:
            own = replace(by, idempotency_key=f"{by.idempotency_key}:{one}")
        code = max(
            code,
            write_ticket(
                authority,
                own,
                f"ticket {verb}",
                {"ticket": one},
                lambda service, _tree, author, one=one: act(service, one, author),  # type: ignore[misc]
                json=json,
            ),
        )
    return code
