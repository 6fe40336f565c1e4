"""The routes of vendors' statements: bringing one in, looking at what was brought, and withdrawing it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec
from litestar import Controller, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.params import FromQuery, JSONBody, PathParameter, QueryParameter

from remit.api.answers import Given
from remit.api.bodies import StrictRequest, Why
from remit.api.params import AfterNumber, IdempotencyKey, IfMatch, Injected, PageSize, Since, require_offsets
from remit.api.problems import PROBLEM_RESPONSES, Refusal, refuse
from remit.api.services import Services
from remit.api.writes import Terms, read_terms, require_no_match
from remit.grants.model import Actor, Problem
from remit.grants.ports import Said
from remit.grants.roles import may
from remit.reconcile.statements.exact import InexactError, parse_decimal
from remit.reconcile.statements.model import Charge, Meter, Options, StatementError
from remit.reconcile.statements.raw import pack
from remit.store.postgres_statements import OPERATION, WITHDRAWING

MAX_STATEMENT_BYTES: Final = 16 * 1024 * 1024
StatementId = Annotated[str, PathParameter(description="the statement's id")]
Word = Annotated[str | None, QueryParameter(min_length=1, max_length=200)]


class MeterGiven(Given, frozen=True, kw_only=True):
    """What the lines of one meter come to; `quantity` is an exact decimal text. Null where no line states it."""

    lines: int
    quantity: str | None
    amount_nanousd: int | None


class RemarkGiven(Given, frozen=True, kw_only=True):
    """Something a person should know: the first row of the raw file it is about, and how many rows."""

    text: str
    line: int | None
    rows: int


class StatementGiven(Given, frozen=True, kw_only=True):
    """A statement without its lines. `amounts` are exact sums of the raw rows by currency, as text.

    `is_complete` says that the vendor does not change this period any more. `options` is what was said when it was imported. Nothing is
    compared with a statement any more that was withdrawn.
    """

    id: str
    seq: int
    vendor: str
    source: str
    account: str
    since: datetime
    until: datetime
    version: int
    supersedes: str | None
    superseded_by: str | None
    is_complete: bool
    sha256: str
    size_bytes: int
    lines_sha256: str
    rows: int
    lines: int
    amount_nanousd: int | None
    amounts: dict[str, str]
    rows_left_out: int
    amounts_left_out: dict[str, str]
    meters: dict[str, MeterGiven]
    remarks: list[RemarkGiven]
    options: dict[str, Any]
    imported_at: datetime
    imported_by: str
    withdrawn_at: datetime | None
    withdrawn_by: str | None
    withdrawn_reason: str | None


class StatementPage(Given, frozen=True, kw_only=True):
    """Statements, the newest first; `next` continues the list as `before`."""

    statements: list[StatementGiven]
    next: int | None


class LineGiven(Given, frozen=True, kw_only=True):
    """One line; null is not stated. `quantity` is an exact decimal text in single units of `unit`."""

    number: int
    line: int
    starts_at: datetime
    ends_at: datetime
    vendor: str
    meter: Meter
    account: str | None
    project: str | None
    key_id: str | None
    region: str | None
    resource: str | None
    model: str | None
    tier: str | None
    is_batch: bool | None
    context_window: str | None
    quantity: str | None
    unit: str | None
    stated_quantity: str | None
    stated_unit: str | None
    requests: int | None
    amount_nanousd: int | None
    amount_text: str | None
    list_amount_nanousd: int | None
    currency: str | None
    charge: Charge
    is_correction: bool
    invoice_id: str | None
    invoice_issuer: str | None
    native_id: str | None
    text: str | None
    tags: dict[str, str]


class LinePage(Given, frozen=True, kw_only=True):
    """Lines in the order of the raw file; `next` continues the list as `after`."""

    lines: list[LineGiven]
    next: int | None


class Statements(Controller):
    """All of it concerns the whole organization."""

    path = "/v1/statements"
    tags = ["statements"]  # noqa: RUF012 - the framework reads it from the class

    @post(responses=PROBLEM_RESPONSES, request_max_body_size=MAX_STATEMENT_BYTES)
    async def bring(  # noqa: PLR0917 - one parameter per query parameter and header
        self,
        request: StrictRequest,
        services: Injected,
        idempotency_key: IdempotencyKey,
        source: Annotated[
            str, QueryParameter(max_length=200, description="which source it is of, such as `openai.costs`")
        ],
        vendor: Word = None,
        account: Word = None,
        since: Since = None,
        until: Since = None,
        currency: Word = None,
        rates: Annotated[
            str | None, QueryParameter(max_length=600, description="such as `EUR=1.0834,GBP=1.27`")
        ] = None,
        only: Annotated[str | None, QueryParameter(max_length=600, description="products to keep, by commas")] = None,
        final: FromQuery[bool] = False,
        reason: Annotated[str | None, QueryParameter(min_length=1, max_length=2_000)] = None,
        if_match: IfMatch = None,
    ) -> Response[StatementGiven]:
        """Imports the statement that the body is, byte for byte; the same again answers the statement there is, with 200."""
        terms = read_terms(idempotency_key, if_match)
        require_no_match(terms)
        require_offsets(since=since, until=until)
        actor = request.user
        await sync_to_thread(_require_write, services, actor, OPERATION, {"source": source}, terms)
        options = Options(
            vendor=vendor,
            account=account,
            since=None if since is None else since.astimezone(UTC),
            until=None if until is None else until.astimezone(UTC),
            currency=currency,
            rates=_rates(rates),
            only=() if only is None else tuple(one.strip() for one in only.split(",")),
            is_final=final,
        )
        body = await request.body()
        return await sync_to_thread(_take_in, services, actor, body, source, options, reason or "imported", terms.key)

    @get(sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def listed(  # noqa: PLR0917 - one parameter per query parameter
        self,
        request: StrictRequest,
        services: Injected,
        vendor: Word = None,
        source: Word = None,
        current: Annotated[
            bool, QueryParameter(description="only those nothing took the place of and nobody withdrew")
        ] = True,
        before: Annotated[
            int | None, QueryParameter(ge=1, le=2**63 - 1, description="continue before this one")
        ] = None,
        limit: PageSize = 100,
    ) -> StatementPage:
        """Statements, the newest first; takes a role for the whole organization."""
        _require_sight(request.user)
        rows = services.statements.listed(count=limit, vendor=vendor, source=source, current=current, before=before)
        given = [msgspec.convert(row, StatementGiven) for row in rows]
        return StatementPage(statements=given, next=given[-1].seq if len(given) == limit else None)

    @get("/{statement:str}", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def one(self, request: StrictRequest, services: Injected, statement: StatementId) -> StatementGiven:
        """A statement: what it covers, what it comes to by meter, what was remarked about it."""
        _require_sight(request.user)
        return msgspec.convert(_found(services, statement), StatementGiven)

    @get("/{statement:str}/lines", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def lines(
        self,
        request: StrictRequest,
        services: Injected,
        statement: StatementId,
        after: AfterNumber = 0,
        limit: PageSize = 100,
    ) -> LinePage:
        """Lines of a statement after a number."""
        _require_sight(request.user)
        _found(services, statement)
        rows = services.statements.lines(statement, after, limit)
        given = [msgspec.convert(row, LineGiven) for row in rows]
        return LinePage(lines=given, next=given[-1].number if len(given) == limit else None)

    @post("/{statement:str}/withdraw", sync_to_thread=True, status_code=200, responses=PROBLEM_RESPONSES)
    def withdraw(  # noqa: PLR0917 - one parameter per part of a write
        self,
        request: StrictRequest,
        services: Injected,
        statement: StatementId,
        data: JSONBody[Why],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> StatementGiven:
        """Nothing is compared with it any more; it is kept. The version before it, if there is one, is current again."""
        terms = read_terms(idempotency_key, if_match)
        require_no_match(terms)
        actor = request.user
        _require_write(services, actor, WITHDRAWING, {"statement": statement}, terms)
        answer = services.statements.withdraw(statement, by=actor.name, reason=data.reason, key=terms.key)
        if isinstance(answer, Problem):
            raise Refusal([answer])
        return msgspec.convert(answer, StatementGiven)


def _take_in(  # noqa: PLR0917 - what a thread is given
    services: Services, actor: Actor, body: bytes, source: str, options: Options, reason: str, key: str
) -> Response[StatementGiven]:
    try:
        answer = services.statements.take_in(pack([body]), source, options, by=actor.name, reason=reason, key=key)
    except StatementError as error:
        raise refuse("statement_unreadable", str(error)) from None
    if isinstance(answer, Problem):
        raise Refusal([answer])
    given = msgspec.convert(answer.statement, StatementGiven)
    return Response(given, status_code=201 if answer.is_new else 200)


def _require_write(services: Services, actor: Actor, operation: str, asked: dict[str, str], terms: Terms) -> None:
    """Whoever may import statements; a refusal is audited."""
    if may(actor, "import_statements"):
        return
    doing = "importing" if operation == OPERATION else "withdrawing"
    problem = Problem(code="not_permitted", path="", detail=f"{doing} statements takes an admin or finance")
    who = Said(at=services.clock.now(), actor=actor.name, operation=operation, request_key=terms.key)
    services.writes.refuse(who, {"actor": actor.name, "operation": operation, **asked}, [problem])
    raise Refusal([problem])


def _require_sight(actor: Actor) -> None:
    if not may(actor, "read_statements"):
        detail = "statements are of the whole organization: that takes an admin, finance, an auditor or security"
        raise refuse("not_permitted", detail)


def _found(services: Services, statement_id: str) -> dict[str, Any]:
    found = services.statements.find(statement_id)
    if found is None:
        raise refuse("unknown_statement", f"there is no statement `{statement_id[:40]}`")
    return found


def _rates(text: str | None) -> dict[str, Decimal]:
    rates = {}
    for part in () if text is None else text.split(","):
        name, _, rate = part.strip().partition("=")
        try:
            rates[name.upper()] = parse_decimal(rate)
        except InexactError:
            raise _bad_rate(part) from None
        if len(name) != 3 or name.upper() == "USD" or rates[name.upper()] <= 0:
            raise _bad_rate(part)
    return rates


def _bad_rate(part: str) -> Refusal:
    detail = f"`rates` has `{part[:40]}`, which is not such as `EUR=1.0834`"
    return refuse("malformed_request", detail, status=400, field="rates")
