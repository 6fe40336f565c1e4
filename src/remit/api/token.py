"""The route at which workloads exchange their tokens: OAuth 2.0 token exchange (RFC 8693)."""

from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
import psycopg
import structlog
from litestar import Response, post
from litestar.concurrency import sync_to_thread
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec

from remit.api.answers import Given
from remit.api.bodies import StrictRequest
from remit.api.dpop import ProvenKey, read_proof
from remit.api.exchange import NOT_EXCHANGED, NOT_FOR_THAT, UNAVAILABLE, Asked, Exchanged, NotExchanged
from remit.api.params import Injected
from remit.api.problems import AnyRequest, request_id_of
from remit.api.services import Services

_log = structlog.get_logger(__name__)
TOKEN_PATH: Final = "/v1/token"  # noqa: S105 - a path, not a secret
MAX_FORM_BYTES: Final = 32 * 1024
GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name, not a secret
_SUBJECT_TYPES: Final = (
    ACCESS_TOKEN,
    "urn:ietf:params:oauth:token-type:jwt",
    "urn:ietf:params:oauth:token-type:id_token",
)
_MAX_FIELDS = 40
_HEADERS = {"pragma": "no-cache"}


class AccessToken(Given, frozen=True, kw_only=True):
    """A short-lived capability (RFC 8693, section 2.2.1)."""

    access_token: str
    issued_token_type: str
    token_type: str
    expires_in: int


class TokenRefused(Given, frozen=True, kw_only=True):
    """Why there is none."""

    error: str
    error_description: str


def _answer(status: int, body: dict[str, Any]) -> Response[bytes]:
    headers = {**_HEADERS, "retry-after": "1"} if status == 503 else _HEADERS
    return Response(msgspec.json.encode(body), status_code=status, media_type="application/json", headers=headers)


def _error(error: str, description: str, status: int = 400) -> Response[bytes]:
    return _answer(status, {"error": error, "error_description": description})


def _on_http_exception(_: Any, error: HTTPException) -> Response[bytes]:
    return _error("invalid_request", "the request cannot be read", 413 if error.status_code == 413 else 400)


def _on_unreachable(request: AnyRequest, error: psycopg.OperationalError) -> Response[bytes]:
    _log.error("api_database_unreachable", request_id=request_id_of(request), error=str(error))
    return _error("temporarily_unavailable", UNAVAILABLE, 503)


@post(
    TOKEN_PATH,
    exclude_from_auth=True,
    status_code=200,
    request_max_body_size=MAX_FORM_BYTES,
    exception_handlers={HTTPException: _on_http_exception, psycopg.OperationalError: _on_unreachable},
    responses={
        status: ResponseSpec(body, description=title, generate_examples=False)
        for status, body, title in (
            (200, AccessToken, "a capability"),
            (400, TokenRefused, "no capability, and why (RFC 6749, section 5.2)"),
            (413, TokenRefused, "the form is too large"),
            (503, TokenRefused, "the database, or the issuer of the token, cannot be reached"),
        )
    },
    tags=["capabilities"],
)
async def exchange_token(request: StrictRequest, services: Injected) -> Response[bytes]:
    """Exchanges a workload's token for a short-lived capability (RFC 8693); form-encoded, no person token needed."""
    form = read_form(request.headers.get("content-type", ""), await request.body())
    if isinstance(form, str):
        return _error("invalid_request", form)
    if problem := _form_problem(form):
        return problem
    proven = _proven(request, services)
    if isinstance(proven, str):
        return _error("invalid_dpop_proof", proven)
    asked = Asked(
        subject_token=form["subject_token"],
        scope=form.get("scope", ""),
        audience=form.get("audience", ""),
        proven=proven,
    )
    exchange = services.exchange
    if exchange is None:
        return _error("invalid_grant", NOT_EXCHANGED)
    if not exchange.room.acquire(blocking=False):
        return _error("temporarily_unavailable", UNAVAILABLE, 503)
    try:
        answer = await sync_to_thread(exchange.exchange, asked, request_id_of(request))
    finally:
        exchange.room.release()
    return _given(answer)


def _given(answer: Exchanged | NotExchanged) -> Response[bytes]:
    if isinstance(answer, NotExchanged):
        return _error(answer.error, answer.description, answer.status)
    return _answer(
        200,
        {
            "access_token": answer.token,
            "issued_token_type": ACCESS_TOKEN,
            "token_type": "DPoP" if answer.is_bound else "Bearer",
            "expires_in": answer.expires_in_seconds,
        },
    )


def read_form(content_type: str, body: bytes) -> dict[str, str] | str:
    """The fields of a form by name, empty ones left out (RFC 6749, section 3.2); a text says what is wrong with it."""
    if content_type.partition(";")[0].strip().casefold() != "application/x-www-form-urlencoded":
        return "the body is not application/x-www-form-urlencoded"
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError:
        return "the form cannot be read"
    form = dict(pairs)
    if len(form) != len(pairs):
        return "a field of the form stands twice"
    return {name: value for name, value in form.items() if value}


def _form_problem(form: dict[str, str]) -> Response[bytes] | None:
    if form.get("grant_type") != GRANT_TYPE:
        missing = "grant_type" not in form
        return _error("invalid_request" if missing else "unsupported_grant_type", f"the grant type is {GRANT_TYPE}")
    if "subject_token" not in form or form.get("subject_token_type") not in _SUBJECT_TYPES:
        return _error("invalid_request", "`subject_token` is missing, or `subject_token_type` is not one that is taken")
    if form.get("requested_token_type", ACCESS_TOKEN) != ACCESS_TOKEN:
        return _error("invalid_request", f"the only token type that is issued is {ACCESS_TOKEN}")
    if "actor_token" in form or "actor_token_type" in form:
        return _error("invalid_request", "nobody acts for another here: there is no use for `actor_token`")
    return _error("invalid_target", NOT_FOR_THAT) if "resource" in form else None


def _proven(request: StrictRequest, services: Services) -> ProvenKey | str | None:
    proofs = request.headers.getall("dpop", [])
    if not proofs:
        return None
    if len(proofs) > 1:
        return "there is more than one proof"
    now = int(services.clock.now().timestamp())
    return read_proof(proofs[0], "POST", request.headers.get("host", ""), TOKEN_PATH, now)
