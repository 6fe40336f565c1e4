"""The routes of reconciliation and of months: comparing, asking for what is to be booked, closing, opening again."""

from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Controller, Response, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery, JSONBody, PathParameter, QueryParameter

from remit.api.answers import Given
from remit.api.bodies import Body, StrictRequest, Why
from remit.api.params import IdempotencyKey, IfMatch, Injected
from remit.api.problems import PROBLEM_RESPONSES, Refusal, refuse
from remit.api.reconciling import Reconciling, to_be_asked
from remit.api.services import Services
from remit.api.ticket_bodies import TicketGiven, ticket_given
from remit.api.ticket_sight import TicketSight
from remit.api.writes import Done, Terms, authorship, read_terms, require_no_match, write_once
from remit.grants.model import Actor, Problem
from remit.grants.ports import Said
from remit.grants.roles import may
from remit.grants.service import Authorship
from remit.grants.tree import Tree
from remit.ledger.months import Bill, BillKind, BillLine, MonthStatus, Waivable, Waiver, month_of
from remit.reconcile.comparison import Confidence, Drift, Outcome, Reconciliation
from remit.renewals.model import Ticket
from remit.renewals.service import Asked
from remit.store.postgres_writes import WriteUnit

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Nanousd = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
MonthText = Annotated[
    str, msgspec.Meta(pattern=r"^[12][0-9]{3}-(0[1-9]|1[0-2])$", description="month of UTC, such as 2026-10")
]
ReconciliationId = Annotated[str, PathParameter(description="id of a comparison")]
MonthPath = Annotated[
    str, PathParameter(pattern="^[12][0-9]{3}-(0[1-9]|1[0-2])$", description="month of UTC, such as 2026-10")
]
_MAX_LINES: Final = 1_000


class BillLineAsked(Body, frozen=True, kw_only=True):
    """What of a bill is not usage; below zero what is taken off."""

    kind: BillKind
    amount_nanousd: Nanousd
    text: Annotated[str, msgspec.Meta(max_length=200)] | None = None


class BillAsked(Body, frozen=True, kw_only=True):
    """One invoice of the vendor for the month. What its lines do not say is usage.

    `issuer` is who billed it, such as a marketplace, null for the vendor itself. A bill in another `currency` is stated in dollars at
    its own `rate`, the dollars for one unit of it.
    """

    invoice_id: Text
    total_nanousd: Nanousd
    issuer: Text | None = None
    currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")] = "USD"
    rate: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,9}([.][0-9]{1,12})?$")] | None = None
    lines: Annotated[tuple[BillLineAsked, ...], msgspec.Meta(max_length=_MAX_LINES)] = ()


class Match(Body, frozen=True, kw_only=True):
    """Which vendor's month to compare, with which bills and statements (all there are without any).

    `accept` are causes whose findings somebody has looked into: they are proposed to be booked too. `resolve` first books what the
    statements say that calls in suspense cost.
    """

    month: MonthText
    vendor: Text
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]
    bills: Annotated[tuple[BillAsked, ...], msgspec.Meta(max_length=100)] = ()
    statements: Annotated[tuple[Text, ...], msgspec.Meta(max_length=100)] = ()
    accept: Annotated[tuple[Text, ...], msgspec.Meta(max_length=100)] = ()
    resolve: bool = False


class WaiverAsked(Body, frozen=True, kw_only=True):
    """What does not hold of a vendor, and why the month is closed all the same."""

    what: Waivable
    vendor: Text
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]


class Close(Body, frozen=True, kw_only=True):
    """Why a month is closed, and what is waived."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]
    waived: Annotated[tuple[WaiverAsked, ...], msgspec.Meta(max_length=100)] = ()


class ReconciliationGiven(Given, frozen=True, kw_only=True):
    """A comparison. Where something was billed, `billed_nanousd` is `ledger_nanousd` and `found_nanousd`.

    `withdrawn` are those of its `statements` that were withdrawn since: it does not hold any more.
    `unexplained_nanousd` is what nothing explains, signs left out, less what was accepted and booked of the same.
    """

    id: str
    month: date
    vendor: str
    made_at: datetime
    made_by: str
    statements: list[str]
    withdrawn: list[str]
    bills: list[dict[str, Any]]
    ledger_nanousd: int
    billed_nanousd: int | None
    found_nanousd: int
    unexplained_nanousd: int
    proposed_nanousd: int
    entries: int
    findings: int
    feedback: list[dict[str, Any]]
    digest: str
    posted_at: datetime | None
    posted_by: str | None


class ReconciliationList(Given, frozen=True, kw_only=True):
    """Comparisons, the newest first, at most 500."""

    reconciliations: list[ReconciliationGiven]


class DriftGiven(Given, frozen=True, kw_only=True):
    """One difference: its cause, what it is about, how much more the vendor charges, and the numbers it was decided on."""

    cause: str
    outcome: Outcome
    confidence: Confidence
    first_day: date
    last_day: date
    about: dict[str, Any]
    amount_nanousd: int
    evidence: dict[str, Any]


class DriftList(Given, frozen=True, kw_only=True):
    """What a comparison found."""

    findings: list[DriftGiven]


class MonthGiven(Given, frozen=True, kw_only=True):
    """A month; `totals` is what was signed off while it is closed."""

    month: date
    status: MonthStatus
    revision: int
    changed_at: datetime | None
    changed_by: str | None
    reason: str | None
    totals: dict[str, Any] | None


class MonthList(Given, frozen=True, kw_only=True):
    """Months in order."""

    months: list[MonthGiven]


_CLOSING: Final = {
    201: ResponseSpec(MonthGiven, description="it is closed", generate_examples=False),
    202: ResponseSpec(TicketGiven, description="it is asked of somebody else", generate_examples=False),
    **PROBLEM_RESPONSES,
}


class Reconciliations(Controller):
    """All of it concerns the whole organization."""

    path = "/v1/reconciliations"
    tags = ["reconciliation"]  # noqa: RUF012 - the framework reads it from the class

    @post(sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def match(
        self,
        request: StrictRequest,
        services: Injected,
        data: JSONBody[Match],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[ReconciliationGiven]:
        """Compare the ledger with a vendor's statements and bills for a month, and keep what is found; nothing is booked."""
        terms = _terms(idempotency_key, if_match)
        by, desk = _author(services, request.user, data.reason, terms, "reconcile"), services.reconciling
        month, bills = _month(data.month), [_bill(data.vendor, one) for one in data.bills]
        if data.resolve:
            found = desk.compared(month, data.vendor, bills, data.statements, data.accept)
            if isinstance(found, Problem):
                raise Refusal([found])
            desk.resolve(found.resolutions, by)
        kept = desk.match(month, data.vendor, bills, data.statements, by, data.accept)
        if isinstance(kept, Problem):
            raise Refusal([kept])
        return Response(_given(kept), status_code=201)

    @get(sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def listed(
        self,
        request: StrictRequest,
        services: Injected,
        month: Annotated[
            str | None, QueryParameter(pattern="^[12][0-9]{3}-(0[1-9]|1[0-2])$", description="only of this month")
        ] = None,
        vendor: FromQuery[str | None] = None,
    ) -> ReconciliationList:
        """Comparisons, the newest first."""
        _require_sight(request.user)
        found = services.reconciling.books.listed(None if month is None else _month(month), vendor)
        return ReconciliationList(reconciliations=[_given(one) for one in found])

    @get("/{reconciliation:str}", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def show(self, request: StrictRequest, services: Injected, reconciliation: ReconciliationId) -> ReconciliationGiven:
        """One comparison."""
        _require_sight(request.user)
        return _given(_found(services.reconciling, reconciliation))

    @get("/{reconciliation:str}/findings", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def findings(self, request: StrictRequest, services: Injected, reconciliation: ReconciliationId) -> DriftList:
        """What it found."""
        _require_sight(request.user)
        found = services.reconciling.books.drift(_found(services.reconciling, reconciliation).id)
        return DriftList(findings=[_drift_given(one) for one in found])

    @post("/{reconciliation:str}/post", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def post_proposed(  # noqa: PLR0917 - one parameter per part of a write
        self,
        request: StrictRequest,
        services: Injected,
        reconciliation: ReconciliationId,
        data: JSONBody[Why],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[TicketGiven]:
        """Ask to book what it proposes: a ticket that somebody else of finance decides."""
        terms = _terms(idempotency_key, if_match)
        by = _author(services, request.user, data.reason, terms, "reconcile post")
        found = _found(services.reconciling, reconciliation)
        asked = {"operation": "reconcile post", "reconciliation": found.id, "reason": data.reason}
        return _ticket(
            services,
            request.user,
            terms,
            by,
            asked,
            lambda tree: services.reconciling.asked_to_post(tree, found, "api"),
        )


class Months(Controller):
    """Months of the books."""

    path = "/v1/months"
    tags = ["reconciliation"]  # noqa: RUF012 - the framework reads it from the class

    @get(sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def listed(self, request: StrictRequest, services: Injected) -> MonthList:
        """Every month that has charges or was closed, in order."""
        _require_sight(request.user)
        return MonthList(
            months=[
                msgspec.convert(msgspec.to_builtins(one), MonthGiven) for one in services.reconciling.months.months()
            ]
        )

    @post("/{month:str}/close", sync_to_thread=True, responses=_CLOSING)
    def close(  # noqa: PLR0917 - one parameter per part of a write
        self,
        request: StrictRequest,
        services: Injected,
        month: MonthPath,
        data: JSONBody[Close],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[Any]:
        """Close a month with the bills of the newest comparison of each vendor: nothing is booked in it any more.

        What one person may not waive alone is asked: a ticket that somebody else of finance decides.
        """
        terms = _terms(idempotency_key, if_match)
        by = _author(services, request.user, data.reason, terms, "close month")
        waived = [Waiver(what=one.what, vendor=one.vendor, reason=one.reason) for one in data.waived]
        desk = services.reconciling
        answer = desk.close(_month(month), waived, by)
        asks = to_be_asked(answer, waived)
        if asks is not None:
            stated = [msgspec.to_builtins(one) for one in waived]
            asked = {"operation": "close month", "month": month, "waived": stated, "reason": data.reason}
            return _ticket(
                services,
                request.user,
                terms,
                by,
                asked,
                lambda tree: desk.asked_to_close(tree, asks, "api"),
                status=202,
            )
        if isinstance(answer, Problem):
            raise Refusal([answer])
        (closed,) = [one for one in desk.months.months() if one.month == answer.month]
        return Response(msgspec.convert(msgspec.to_builtins(closed), MonthGiven), status_code=201)

    @post("/{month:str}/reopen", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def reopen(  # noqa: PLR0917 - one parameter per part of a write
        self,
        request: StrictRequest,
        services: Injected,
        month: MonthPath,
        data: JSONBody[Why],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[TicketGiven]:
        """Ask to open the month that was closed last again: a ticket that somebody else of finance decides."""
        terms, first_day = _terms(idempotency_key, if_match), _month(month)
        by = _author(services, request.user, data.reason, terms, "reopen month")
        asked = {"operation": "reopen month", "month": month, "reason": data.reason}
        return _ticket(
            services,
            request.user,
            terms,
            by,
            asked,
            lambda tree: services.reconciling.asked_to_reopen(tree, first_day, "api"),
        )


def _terms(idempotency_key: str, if_match: str | None) -> Terms:
    terms = read_terms(idempotency_key, if_match)
    require_no_match(terms)
    return terms


def _author(services: Services, actor: Actor, reason: str, terms: Terms, operation: str) -> Authorship:
    """Whoever may write the books; a refusal is audited."""
    if may(actor, "close_books"):
        return authorship(actor, reason, terms)
    problem = Problem(code="not_permitted", path="", detail="the books are written by an admin or finance")
    said = Said(at=services.clock.now(), actor=actor.name, operation=operation, reason=reason, request_key=terms.key)
    services.writes.refuse(said, {"operation": operation}, [problem])
    raise Refusal([problem])


def _require_sight(actor: Actor) -> None:
    if not may(actor, "read_statements"):
        detail = "the books are of the whole organization: that takes an admin, finance, an auditor or security"
        raise refuse("not_permitted", detail)


def _ticket(  # noqa: PLR0917 - one parameter per part of a write
    services: Services,
    actor: Actor,
    terms: Terms,
    by: Authorship,
    asked: dict[str, Any],
    make: Callable[[Tree], Asked | Problem],
    status: int = 201,
) -> Response[Any]:
    def do(unit: WriteUnit) -> Done:
        wanted = make(unit.tree())
        if isinstance(wanted, Problem):
            raise Refusal([wanted])
        ticket = services.tickets_over(unit).open(wanted, by)
        if not isinstance(ticket, Ticket):
            raise Refusal(ticket)
        given = ticket_given(TicketSight(unit.tree(), actor), ticket)
        return Done(status, given, given, ticket.revision)

    return write_once(services, actor, terms, asked, do)


def _found(desk: Reconciling, reconciliation_id: str) -> Reconciliation:
    found = desk.books.find(reconciliation_id)
    if found is None:
        raise refuse("reconciliation_unknown", f"there is no reconciliation `{reconciliation_id[:40]}`")
    return found


def _month(text: str) -> date:
    try:
        return month_of(text)
    except ValueError as error:
        raise refuse("malformed_request", str(error), status=400, field="month") from None


def _bill(vendor: str, asked: BillAsked) -> Bill:
    lines = tuple(BillLine(kind=one.kind, amount_nanousd=one.amount_nanousd, text=one.text) for one in asked.lines)
    if (asked.currency == "USD") != (asked.rate is None):
        raise refuse(
            "malformed_request",
            "a bill in another currency than USD has a `rate`, and no other has",
            status=400,
            field="rate",
        )
    return Bill(
        vendor=vendor,
        invoice_id=asked.invoice_id,
        total_nanousd=asked.total_nanousd,
        issuer=asked.issuer,
        currency=asked.currency,
        rate=asked.rate,
        lines=lines,
    )


def _given(one: Reconciliation) -> ReconciliationGiven:
    return msgspec.convert(msgspec.to_builtins(one), ReconciliationGiven)


def _drift_given(one: Drift) -> DriftGiven:
    return msgspec.convert(msgspec.to_builtins(one), DriftGiven)
