"""The two routes of signing in: to the provider, and back with a token for a working day."""

import html
import secrets
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog
from litestar import Request, Response, get
from litestar.datastructures import Cookie
from litestar.openapi.datastructures import ResponseSpec

from remit.api.answers import Given
from remit.api.bodies import StrictRequest
from remit.api.params import Injected, holds_nul
from remit.api.people import NewPerson
from remit.api.problems import Refusal, problem_responses, refuse
from remit.api.services import Services
from remit.api.sign_in import BEGIN_SECONDS, CALLBACK_PATH, Identity, SignIn
from remit.grants.model import Actor, Problem, RoleBinding
from remit.store.postgres_writes import WriteUnit

_log = structlog.get_logger(__name__)
COOKIE = "remit_sign_in"
_BY = Actor("sign-in", is_admin=True)
_PAGE = """<!doctype html><meta charset="utf-8"><title>Signed in</title>
<p>Signed in as <b>{name}</b> until {until}. This token is shown once:</p>
<pre>{token}</pre>
<p>Use it as <code>Authorization: Bearer ...</code>; <code>POST /v1/tokens</code> makes narrower ones.</p>
"""
_PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class SignedIn(Given, frozen=True, kw_only=True):
    """A person token, shown once."""

    name: str
    token: str
    expires_at: datetime


@get(
    "/v1/sign-in",
    sync_to_thread=True,
    exclude_from_auth=True,
    status_code=302,
    responses=problem_responses(400, 404, 503),
    tags=["people"],
)
def begin_sign_in(services: Injected) -> Response[None]:
    """Sends the browser to the provider; it comes back to the callback within ten minutes."""
    sign_in = _of(services)
    begun = sign_in.begin()
    cookie = _cookie(sign_in, begun.cookie, BEGIN_SECONDS)
    return Response(None, status_code=302, headers={"location": begun.url}, cookies=[cookie])


async def _any_parameters(request: Request[Any, Any, Any]) -> None:
    """Providers send more than was asked for, and a client leaves aside what it does not know (RFC 6749, 4.1.2)."""
    if holds_nul(request):
        raise refuse("malformed_request", "the URL holds the character NUL", status=400)


@get(
    CALLBACK_PATH,
    sync_to_thread=True,
    exclude_from_auth=True,
    before_request=_any_parameters,
    responses={
        200: ResponseSpec(SignedIn, description="signed in", generate_examples=False),
        **problem_responses(400, 403, 404, 503),
    },
    tags=["people"],
)
def end_sign_in(request: StrictRequest, services: Injected) -> Response[bytes]:
    """Takes the provider's answer once, and gives a person token: a page to a browser, JSON to anything else."""
    sign_in = _of(services)
    pairs = list(request.query_params.multi_items())
    answered = {name: str(value) for name, value in pairs}
    if len(answered) != len(pairs):
        raise refuse("malformed_request", "a query parameter stands twice", status=400)
    if answered.get("iss", sign_in.terms.issuer) != sign_in.terms.issuer:
        raise refuse("sign_in_refused", "the answer is of another provider", status=403)
    identity = sign_in.end(answered, request.cookies.get(COOKIE, ""))
    made = _admit(services, sign_in, identity)
    person = made.person
    gone = _cookie(sign_in, "", 0)
    if "text/html" in request.headers.get("accept", ""):
        until = f"{person.expires_at:%Y-%m-%d %H:%M}Z"
        page = _PAGE.format(name=html.escape(person.name), until=until, token=html.escape(made.text))
        return Response(page.encode(), media_type="text/html; charset=utf-8", headers=_PAGE_HEADERS, cookies=[gone])
    given = msgspec.json.encode(SignedIn(name=person.name, token=made.text, expires_at=person.expires_at))
    return Response(given, media_type="application/json", cookies=[gone])


def _cookie(sign_in: SignIn, value: str, seconds: int) -> Cookie:
    """Lax, because the provider's answer is a navigation from its site to this one."""
    return Cookie(
        key=COOKIE,
        value=value,
        path="/v1/sign-in",
        max_age=seconds,
        httponly=True,
        secure=sign_in.is_secure,
        samesite="lax",
    )


def _of(services: Services) -> SignIn:
    if services.sign_in is None:
        raise refuse("unknown_route", "there is no such route", status=404)
    return services.sign_in


def _admit(services: Services, sign_in: SignIn, identity: Identity) -> NewPerson:
    """The person, the roles their groups give, and a token, in one write. Raises Refusal."""

    def do(unit: WriteUnit) -> tuple[NewPerson, dict[str, str]] | Problem:
        life = timedelta(seconds=sign_in.terms.session_seconds)
        made = services.people_over(unit.people).create(
            identity.email, _BY.name, life=life, source="oidc", purpose="sign-in"
        )
        if isinstance(made, Problem):
            return made
        roster = services.roster_over(unit)
        roster.set_from_groups(identity.email, _roles(unit, sign_in, identity), _BY)
        return made, {"person": made.person.name, "token": made.person.id}

    key = f"sign-in-{secrets.token_hex(16)}"
    done = services.writes.once(key, {"operation": "sign-in", "actor": _BY.name, "person": identity.email}, do)
    if isinstance(done, Problem):
        raise Refusal([done], status=403)
    assert isinstance(done, NewPerson), "the key is fresh"
    return done


def _roles(unit: WriteUnit, sign_in: SignIn, identity: Identity) -> list[RoleBinding]:
    bindings = []
    for one in sign_in.terms.roles:
        if one.group not in identity.groups:
            continue
        grant_id = None
        if one.grant is not None:
            with unit.grants.read() as reads:
                grant = reads.find(one.grant)
            if grant is None:
                # A role for less than was meant is none; for more it must never become.
                _log.warning("sign_in_role_without_grant", role=one.role, grant=one.grant)
                continue
            grant_id = grant.id
        bindings.append(RoleBinding(one.role, grant_id))
    return bindings
