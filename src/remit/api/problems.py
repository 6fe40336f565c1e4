"""Problems as `application/problem+json` (RFC 9457), and which status each code has."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import psycopg
import structlog
from litestar import Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException, NotFoundException, ValidationException
from litestar.openapi.datastructures import ResponseSpec

from remit.grants.model import Actor, Problem, ProblemsError
from remit.ledger.model import ArchivedError
from remit.store.postgres_people import StoredPerson

_log = structlog.get_logger(__name__)
PROBLEM_JSON: Final = "application/problem+json"
AnyRequest = Request[Actor, StoredPerson, State]

_STATUSES: Final[Mapping[str, int]] = {
    "not_permitted": 403,
    "outside_boundary": 403,
    "grant_unknown": 404,
    "unknown_grant": 404,
    "unknown_key": 404,
    "unknown_subject": 404,
    "unknown_revocation": 404,
    "ticket_unknown": 404,
    "unknown_role_binding": 404,
    "unknown_person": 404,
    "unknown_token": 404,
    "person_left": 409,
    "owner_left": 409,
    "too_many_tokens": 409,
    "too_many_tickets": 409,
    "unknown_trip": 404,
    "unknown_tag": 404,
    "unknown_cost_rule": 404,
    "unknown_dead_letter": 404,
    "unknown_job": 404,
    "unknown_statement": 404,
    "statement_overlaps": 409,
    "reconciliation_unknown": 404,
    "reconciliation_outdated": 409,
    "already_posted": 409,
    "already_withdrawn": 409,
    "proposal_differs": 409,
    "month_already_closed": 409,
    "month_changed_since": 409,
    "bills_outdated": 409,
    "waiver_differs": 409,
    "relieves_yourself": 403,
    "second_person_needed": 403,
    "month_not_last": 409,
    "month_before_open": 409,
    "already_revoked": 409,
    "approved_already": 409,
    "look_again": 409,
    "ticket_not_open": 409,
    "ticket_open_already": 409,
    "grant_inactive": 409,
    "issuer_key_not_signing": 409,
    "issuer_key_signs": 409,
    "grant_revoked": 409,
    "parent_inactive": 409,
    "path_taken": 409,
    "plan_stale": 409,
    "revision_conflict": 409,
    "status_not_allowed": 409,
}
_TITLES: Final[Mapping[int, str]] = {
    400: "the request could not be read",
    401: "no usable token was presented",
    403: "this is not permitted",
    404: "there is no such thing",
    405: "this method is not known here",
    408: "the request took too long to arrive",
    409: "the request conflicts with what is stored",
    413: "the request is too large",
    422: "the rules do not allow this",
    500: "something went wrong here",
    503: "the database cannot be reached",
}


class ProblemItem(msgspec.Struct, frozen=True, kw_only=True):
    """One reason: a stable code, the grant it is about (empty for none), a sentence with the numbers, a field."""

    code: str
    path: str
    detail: str
    field: str | None = None


class ProblemAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every answer that is not a success. `code` is that of the first of `problems`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    problems: list[ProblemItem]


class Refusal(ProblemsError):  # noqa: N818 - a refusal is no error; it is raised so that a transaction rolls back
    """Ends a request with problems. The status is theirs unless given."""

    def __init__(self, problems: Sequence[Problem], status: int | None = None) -> None:
        super().__init__(problems)
        self.status = status or status_of(self.problems)


def refuse(code: str, detail: str, *, status: int | None = None, field: str | None = None) -> Refusal:
    """A refusal for one reason that concerns no grant."""
    return Refusal([Problem(code=code, path="", detail=detail, field=field)], status)


def status_of(problems: Sequence[Problem]) -> int:
    """The status of a list of problems: 403 before 404 before 409 before 422."""
    return min(_status(problem.code) for problem in problems)


def _status(code: str) -> int:
    return 409 if code.startswith("conflict_different_") else _STATUSES.get(code, 422)


def items(problems: Sequence[Problem]) -> list[ProblemItem]:
    """Problems as answers have them."""
    return [ProblemItem(code=one.code, path=one.path, detail=one.detail, field=one.field) for one in problems]


def problem_body(refusal: Refusal, request_id: str) -> bytes:
    """The encoded body of a refusal."""
    first = refusal.problems[0]
    return msgspec.json.encode(
        ProblemAnswer(
            type="about:blank",
            title=_TITLES.get(refusal.status, "the request was refused"),
            status=refusal.status,
            detail=first.detail,
            code=first.code,
            request_id=request_id,
            problems=items(refusal.problems),
        )
    )


def request_id_of(request: AnyRequest) -> str:
    """The id that the edge gave to this request."""
    return str(request.scope["remit_request_id"])  # type: ignore[typeddict-item]


def on_refusal(request: AnyRequest, refusal: Refusal) -> Response[bytes]:
    """The answer of a refusal."""
    headers = {"www-authenticate": "Bearer"} if refusal.status == 401 else {}
    body = problem_body(refusal, request_id_of(request))
    return Response(body, status_code=refusal.status, media_type=PROBLEM_JSON, headers=headers)


def on_http_exception(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """What the framework refuses by itself: routes, methods, parameters, sizes."""
    if isinstance(error, ValidationException):
        return on_refusal(request, _invalid(request, error))
    if isinstance(error, NotFoundException):
        return on_refusal(request, refuse("unknown_route", "there is no such route", status=404))
    if error.status_code >= 500:
        return on_failure(request, error)
    codes = {405: "method_not_allowed", 413: "body_too_large"}
    detail = {405: "this method is not known here"}.get(error.status_code)
    if error.status_code == 413:
        detail = _too_large(request)
    code = codes.get(error.status_code, "malformed_request")
    answer = on_refusal(
        request, refuse(code, detail or "the request could not be read", status=max(error.status_code, 400))
    )
    if error.status_code == 405 and error.headers is not None:
        # Which methods there are instead (RFC 9110, section 15.5.6).
        answer.headers["allow"] = error.headers["allow"]
    return answer


def _too_large(request: AnyRequest) -> str:
    limit = request.route_handler.resolve_request_max_body_size()
    if limit is None:
        return "the body is larger than what is taken here"
    size = f"{limit // 2**20} MiB" if limit >= 2**20 else f"{limit // 2**10} KiB"
    return f"a body here has at most {size}"


def _invalid(request: AnyRequest, error: ValidationException) -> Refusal:
    takes_key = "idempotency_key" in request.route_handler.parsed_fn_signature.parameters
    if request.method != "GET" and takes_key and "idempotency-key" not in request.headers:
        detail = "a write needs the header `Idempotency-Key`"
        return refuse("idempotency_key_missing", detail, status=400, field="Idempotency-Key")
    found = error.extra if isinstance(error.extra, list) else []
    problems = [
        Problem(code="malformed_request", path="", detail=_lower(str(one.get("message", ""))), field=one.get("key"))
        for one in found
        if isinstance(one, dict)
    ]
    return Refusal(problems, 400) if problems else refuse("malformed_request", _lower(error.detail), status=400)


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].rstrip(".")


def on_archived(request: AnyRequest, error: ArchivedError) -> Response[bytes]:
    """What was asked for is in the archive alone, and cannot be read there; the error says which."""
    return on_refusal(request, refuse("archived", str(error), status=409))


def on_unreachable(request: AnyRequest, error: psycopg.OperationalError) -> Response[bytes]:
    """The database does not answer, or not in time; the log has why."""
    _log.error("api_database_unreachable", request_id=request_id_of(request), error=str(error))
    return on_refusal(request, refuse("authority_unreachable", "the database cannot be reached", status=503))


def on_failure(request: AnyRequest, error: Exception) -> Response[bytes]:
    """Anything unforeseen: the log has it all, the caller gets the request id."""
    _log.error("api_failed", request_id=request_id_of(request), exc_info=error)
    detail = f"something went wrong here; request `{request_id_of(request)}` is in the log"
    return on_refusal(request, refuse("internal_error", detail, status=500))


def problem_responses(*statuses: int) -> dict[int, ResponseSpec]:
    """Problems with these statuses, for the document."""
    return {
        status: ResponseSpec(
            data_container=ProblemAnswer, description=_TITLES[status], generate_examples=False, media_type=PROBLEM_JSON
        )
        for status in statuses
    }


PROBLEM_RESPONSES: Final = problem_responses(400, 401, 403, 404, 408, 409, 413, 422, 503)
