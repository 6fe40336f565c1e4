"""The routes of tickets: ask, look, decide."""

from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Annotated, Any

from litestar import Controller, Response, get, post
from litestar.params import FromQuery, JSONBody, PathParameter, QueryParameter

from remit.api.bodies import Body, CreateGrant, StrictRequest, Why
from remit.api.params import IdempotencyKey, IfMatch, Injected, PageSize
from remit.api.problems import PROBLEM_RESPONSES, Refusal
from remit.api.services import Services
from remit.api.ticket_bodies import (
    AskBreakGlass,
    AskIncrease,
    AskRenewal,
    AskTransfer,
    Comment,
    Reassign,
    TicketGiven,
    TicketPage,
    changes,
    ticket_given,
)
from remit.api.ticket_sight import TicketSight
from remit.api.writes import Done, Terms, authorship, read_terms, require_no_match, write_once
from remit.grants.model import Actor, Problem
from remit.grants.service import Authorship
from remit.grants.tree import Tree
from remit.renewals import requests
from remit.renewals.asking import unknown_ticket
from remit.renewals.model import Ticket, TicketKind, TicketState
from remit.renewals.service import Asked, LookAgain, TicketService
from remit.store.postgres_writes import WriteUnit

TicketId = Annotated[str, PathParameter(description="id of the ticket")]


class Tickets(Controller):
    """A ticket is seen by who asked, who is asked, and who sees the grant it is about."""

    path = "/v1/tickets"
    tags = ["tickets"]  # noqa: RUF012 - the framework reads it from the class

    @get(sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def list_tickets(  # noqa: PLR0917 - one parameter per query parameter
        self,
        request: StrictRequest,
        services: Injected,
        in_state: FromQuery[TicketState | None] = None,
        kind: FromQuery[TicketKind | None] = None,
        mine: Annotated[bool, QueryParameter(description="only those that wait for the caller")] = False,
        after: Annotated[str | None, QueryParameter(description="id of the last ticket of the page before")] = None,
        limit: PageSize = 100,
    ) -> TicketPage:
        """The tickets one sees, oldest first."""
        sight, name = _sight(services, request.user), request.user.name
        with services.tickets() as tickets:
            page = tickets.listed(
                state=in_state,
                kind=kind,
                assignee=name if mine else None,
                nodes=sight.grants.ids(),
                viewer=name,
                within=sight.within(),
                after=after,
                by_id=True,
                count=limit + 1,
            )
        given = [ticket_given(sight, one) for one in page[:limit]]
        return TicketPage(tickets=given, next=given[-1].id if len(page) > limit else None)

    @get("/{ticket:str}", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def show(self, request: StrictRequest, services: Injected, ticket: TicketId) -> Response[TicketGiven]:
        """One ticket with everything that happened to it; `ETag` is its revision."""
        sight = _sight(services, request.user)
        with services.tickets() as tickets:
            found = _seen(sight, tickets.find(ticket), ticket)
            events = tickets.events(found.id)
        return Response(ticket_given(sight, found, events), headers={"etag": f'"{found.revision}"'})

    @post("/grant", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def ask_grant(
        self,
        request: StrictRequest,
        services: Injected,
        data: JSONBody[CreateGrant],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[TicketGiven]:
        """Ask for a grant; anybody may ask below a grant that exists."""
        terms = read_terms(idempotency_key, if_match)
        return _open(services, request.user, terms, data, lambda _tree: requests.new_grant(data.new_grant(), "api"))

    @post("/renew", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def ask_renewal(
        self,
        request: StrictRequest,
        services: Injected,
        data: JSONBody[AskRenewal],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[TicketGiven]:
        """Ask for a later expiry."""
        terms, until = read_terms(idempotency_key, if_match), data.expires_at.astimezone(UTC)

        def asked(tree: Tree) -> Asked | Problem:
            return requests.renewal(tree, data.grant, until, changes(data.limits) or None, "api", data.suggested)

        return _open(services, request.user, terms, data, asked, data.grant)

    @post("/increase", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def ask_increase(
        self,
        request: StrictRequest,
        services: Injected,
        data: JSONBody[AskIncrease],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[TicketGiven]:
        """Ask for other limits."""
        terms = read_terms(idempotency_key, if_match)

        def asked(tree: Tree) -> Asked | Problem:
            return requests.increase(tree, data.grant, changes(data.limits), "api")

        return _open(services, request.user, terms, data, asked, data.grant)

    @post("/transfer", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def ask_transfer(
        self,
        request: StrictRequest,
        services: Injected,
        data: JSONBody[AskTransfer],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[TicketGiven]:
        """Ask a sibling for a part of its limit; the caller owns the one that gets."""
        terms, limit = read_terms(idempotency_key, if_match), data.limit

        def asked(tree: Tree) -> Asked | Problem:
            return requests.transfer(tree, data.source, data.target, limit.dimension, limit.period, limit.amount, "api")

        return _open(services, request.user, terms, data, asked, data.target)

    @post("/break-glass", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def ask_break_glass(
        self,
        request: StrictRequest,
        services: Injected,
        data: JSONBody[AskBreakGlass],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[TicketGiven]:
        """Ask for more in an emergency; two people approve."""
        terms, until = read_terms(idempotency_key, if_match), data.ends_at.astimezone(UTC)

        def asked(tree: Tree) -> Asked | Problem:
            return requests.break_glass(tree, data.grant, data.amount_nanousd, until, "api")

        return _open(services, request.user, terms, data, asked, data.grant)

    @post("/{ticket:str}/approve", sync_to_thread=True, status_code=200, responses=PROBLEM_RESPONSES)
    def approve(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        ticket: TicketId,
        data: JSONBody[Why],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[TicketGiven]:
        """One person's yes; with the last one needed, what was asked for happens."""
        terms = read_terms(idempotency_key, if_match)
        return _act(
            services, request.user, terms, "approve", ticket, data, lambda on, by: on.approve(ticket, by, "api")
        )

    @post("/{ticket:str}/decline", sync_to_thread=True, status_code=200, responses=PROBLEM_RESPONSES)
    def decline(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        ticket: TicketId,
        data: JSONBody[Why],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[TicketGiven]:
        """One person's no, which ends it."""
        terms = read_terms(idempotency_key, if_match)
        return _act(
            services, request.user, terms, "decline", ticket, data, lambda on, by: on.decline(ticket, by, "api")
        )

    @post("/{ticket:str}/withdraw", sync_to_thread=True, status_code=200, responses=PROBLEM_RESPONSES)
    def withdraw(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        ticket: TicketId,
        data: JSONBody[Why],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[TicketGiven]:
        """The requester takes it back."""
        terms = read_terms(idempotency_key, if_match)
        return _act(
            services, request.user, terms, "withdraw", ticket, data, lambda on, by: on.withdraw(ticket, by, "api")
        )

    @post("/{ticket:str}/comment", sync_to_thread=True, status_code=200, responses=PROBLEM_RESPONSES)
    def comment(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        ticket: TicketId,
        data: JSONBody[Comment],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[TicketGiven]:
        """Adds to the thread."""
        terms = read_terms(idempotency_key, if_match)
        return _act(
            services,
            request.user,
            terms,
            "comment",
            ticket,
            data,
            lambda on, by: on.comment(ticket, data.text, by, "api"),
        )

    @post("/{ticket:str}/reassign", sync_to_thread=True, status_code=200, responses=PROBLEM_RESPONSES)
    def reassign(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        ticket: TicketId,
        data: JSONBody[Reassign],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[TicketGiven]:
        """Hands it to somebody else who may decide it."""
        terms = read_terms(idempotency_key, if_match)
        return _act(
            services,
            request.user,
            terms,
            "reassign",
            ticket,
            data,
            lambda on, by: on.reassign(ticket, data.to, by, "api"),
        )


def _open(  # noqa: PLR0917 - the five routes pass what they were given
    services: Services,
    actor: Actor,
    terms: Terms,
    data: Body,
    make: Callable[[Tree], Asked | Problem],
    own: str | None = None,
) -> Response[Any]:
    """Opens a ticket; of `own`, a grant's id or path, the caller has to see the grant."""
    require_no_match(terms)
    reason: str = data.parts()["reason"]

    def do(unit: WriteUnit) -> Done:
        tree = unit.tree()
        sight = TicketSight(tree, actor)
        if own is not None and isinstance(problem := sight.grants.find(own), Problem):
            raise Refusal([problem])
        asked = make(tree)
        if isinstance(asked, Problem):
            raise Refusal([asked])
        answer = services.tickets_over(unit).open(asked, authorship(actor, reason, terms))
        return _done(sight, answer, 201)

    # What the form asks for stands in its name: two forms with the same fields are two requests.
    body = {"operation": "ticket open", "form": type(data).__name__, **data.asked()}
    return write_once(services, actor, terms, body, do)


def _act(  # noqa: PLR0917 - the five routes pass what they were given
    services: Services,
    actor: Actor,
    terms: Terms,
    verb: str,
    ticket_id: str,
    data: Body,
    act: Callable[[TicketService, Authorship], Ticket | LookAgain | list[Problem]],
) -> Response[Any]:
    reason: str = data.parts().get("reason", f"{verb} over the API")

    def do(unit: WriteUnit) -> Done:
        sight = TicketSight(unit.tree(), actor)
        ticket = _seen(sight, unit.tickets(services.clock).find(ticket_id), ticket_id)
        if terms.if_match not in (None, ticket.revision):
            detail = f"ticket {ticket.id} is at revision {ticket.revision}, not {terms.if_match}"
            raise Refusal([Problem(code="revision_conflict", path=ticket.path, detail=detail)])
        return _done(sight, act(services.tickets_over(unit), authorship(actor, reason, terms)), 200)

    return write_once(services, actor, terms, {"operation": f"ticket {verb}", "ticket": ticket_id, **data.asked()}, do)


def _done(sight: TicketSight, answer: Ticket | LookAgain | Sequence[Problem], status: int) -> Done:
    if isinstance(answer, LookAgain):
        return Done(409, None, None, answer.ticket.revision, tuple(sight.grants.shown([answer.problem])))
    if not isinstance(answer, Ticket):
        raise Refusal(sight.grants.shown(answer))
    given = ticket_given(sight, answer)
    return Done(status, given, given, answer.revision)


def _sight(services: Services, actor: Actor) -> TicketSight:
    with services.repository.read() as reads:
        return TicketSight(Tree(reads.load_tree()), actor)


def _seen(sight: TicketSight, ticket: Ticket | None, ticket_id: str) -> Ticket:
    """The ticket, if the person sees it. Raises Refusal."""
    if ticket is not None and sight.sees(ticket):
        return ticket
    raise Refusal([unknown_ticket(ticket_id)])
