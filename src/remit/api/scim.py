"""The part of SCIM 2.0 (RFC 7643, 7644) that matters here: a directory says who is here and who left."""

import hmac
import json
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import psycopg
import structlog
from litestar import Request, Response, get, patch, post, put
from litestar.concurrency import sync_to_thread
from litestar.exceptions import HTTPException
from litestar.params import FromPath, FromQuery

from remit.api.bodies import StrictRequest
from remit.api.params import Injected, holds_nul
from remit.api.problems import AnyRequest, request_id_of
from remit.api.services import Services
from remit.grants.model import Actor, Problem
from remit.grants.service import Authorship
from remit.store.postgres_roster import PersonRecord, person_key
from remit.store.postgres_writes import WriteUnit

_log = structlog.get_logger(__name__)
SCIM_PATH: Final = "/v1/scim/v2/Users"
USER: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE: Final = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
_ERROR: Final = "urn:ietf:params:scim:api:messages:2.0:Error"
_LIST: Final = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
_MEDIA: Final = "application/scim+json"
_BY = Actor("scim", is_admin=True)
_FILTER = re.compile(r'\s*userName\s+eq\s+"((?:[^"\\]|\\.)*)"\s*', re.IGNORECASE)
_MAX_OPERATIONS = 100


class _ScimError(Exception):
    """Ends a request with a SCIM error; raised so that a transaction rolls back."""

    def __init__(self, status: int, detail: str, kind: str | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.kind = status, detail, kind


def _answer(status: int, body: Mapping[str, Any]) -> Response[bytes]:
    return Response(msgspec.json.encode(body), status_code=status, media_type=_MEDIA)


def _on_scim_error(_: AnyRequest, error: _ScimError) -> Response[bytes]:
    body = {"schemas": [_ERROR], "status": str(error.status), "detail": error.detail}
    return _answer(error.status, body if error.kind is None else {**body, "scimType": error.kind})


def _on_http_exception(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    status = error.status_code if error.status_code in (404, 405, 413) else 400
    return _on_scim_error(request, _ScimError(status, "the request cannot be read"))


def _on_unreachable(request: AnyRequest, error: psycopg.OperationalError) -> Response[bytes]:
    _log.error("api_database_unreachable", request_id=request_id_of(request), error=str(error))
    return _on_scim_error(request, _ScimError(503, "the database cannot be reached"))


_HANDLERS: Final[dict[Any, Any]] = {
    _ScimError: _on_scim_error,
    HTTPException: _on_http_exception,
    psycopg.OperationalError: _on_unreachable,
}


async def _any_parameters(request: Request[Any, Any, Any]) -> None:
    """Directories state which attributes they want; they get all there are. Raises _ScimError."""
    if holds_nul(request):
        raise _ScimError(400, "the URL holds the character NUL", "invalidValue")


@get(
    SCIM_PATH,
    exclude_from_auth=True,
    exception_handlers=_HANDLERS,
    include_in_schema=False,
    before_request=_any_parameters,
)
async def find_users(
    request: StrictRequest,
    services: Injected,
    filter: FromQuery[str | None] = None,  # noqa: A002 - the name of the query parameter
    startIndex: FromQuery[int] = 1,  # noqa: N803 - the name of the query parameter
    count: FromQuery[int] = 100,
) -> Response[bytes]:
    """People, all or the one of a `userName`."""
    _require_directory(request, services)
    roster = services.people_store.roster
    if filter is None:
        people = await sync_to_thread(roster.all)
    else:
        found = _FILTER.fullmatch(filter)
        if found is None:
            raise _ScimError(400, 'the only filter known here is `userName eq "..."`', "invalidFilter")
        name = person_key(_text(found[1]))
        person = await sync_to_thread(roster.find, name)
        people = [] if person is None or person.name != name else [person]
    first = max(startIndex, 1) - 1
    page = people[first : first + max(0, min(count, 1000))]
    users = [user_of(one) for one in page]
    body = {"schemas": [_LIST], "totalResults": len(people), "startIndex": first + 1, "itemsPerPage": len(users)}
    return _answer(200, {**body, "Resources": users})


@get(f"{SCIM_PATH}/{{user:str}}", exclude_from_auth=True, exception_handlers=_HANDLERS, include_in_schema=False)
async def show_user(request: StrictRequest, services: Injected, user: FromPath[str]) -> Response[bytes]:
    """One person."""
    _require_directory(request, services)
    person = await sync_to_thread(services.people_store.roster.find, user)
    if person is None or person.id != user:
        raise _unknown()
    return _answer(200, user_of(person))


@post(SCIM_PATH, exclude_from_auth=True, exception_handlers=_HANDLERS, include_in_schema=False)
async def create_user(request: StrictRequest, services: Injected) -> Response[bytes]:
    """Makes a person known. One who is known from elsewhere comes under the directory; twice is a conflict."""
    _require_directory(request, services)
    stated = _object(await request.body())
    name = stated.get("userName")
    if not isinstance(name, str):
        raise _ScimError(400, "`userName` is the e-mail address of a person", "invalidValue")

    def do(unit: WriteUnit) -> PersonRecord:
        known = unit.roster.find(person_key(name))
        if known is not None and (known.external_id is not None or known.source == "scim"):
            raise _ScimError(409, "this user is known", "uniqueness")
        joined = services.roster_over(unit).join(name, _BY.name, "scim")
        if isinstance(joined, Problem):
            raise _ScimError(409 if joined.code == "person_left" else 400, joined.detail)
        return _change(services, unit, joined, stated)

    return _answer(201, await sync_to_thread(_written, services, "create", stated, do))


@put(f"{SCIM_PATH}/{{user:str}}", exclude_from_auth=True, exception_handlers=_HANDLERS, include_in_schema=False)
async def replace_user(request: StrictRequest, services: Injected, user: FromPath[str]) -> Response[bytes]:
    """What the directory says of a person, whole."""
    _require_directory(request, services)
    stated = _object(await request.body())

    def do(unit: WriteUnit) -> PersonRecord:
        return _change(services, unit, _known(unit, user), stated)

    return _answer(200, await sync_to_thread(_written, services, "put", {"id": user, **stated}, do))


@patch(f"{SCIM_PATH}/{{user:str}}", exclude_from_auth=True, exception_handlers=_HANDLERS, include_in_schema=False)
async def patch_user(request: StrictRequest, services: Injected, user: FromPath[str]) -> Response[bytes]:
    """Parts of what the directory says of a person."""
    _require_directory(request, services)
    stated = _patched(_object(await request.body()))

    def do(unit: WriteUnit) -> PersonRecord:
        return _change(services, unit, _known(unit, user), stated)

    return _answer(200, await sync_to_thread(_written, services, "patch", {"id": user, **stated}, do))


SCIM_ROUTES: Final = (find_users, show_user, create_user, replace_user, patch_user)


def _text(quoted: str) -> str:
    """What stands between the quotes of a filter. Raises _ScimError."""
    try:
        text = str(json.loads(f'"{quoted}"', strict=False))
        text.encode()  # half a pair is no character
    except ValueError:
        raise _ScimError(400, "the filter holds no text", "invalidFilter") from None
    if "\0" in text:
        raise _ScimError(400, "the filter holds the character NUL", "invalidFilter")
    return text


def _require_directory(request: StrictRequest, services: Services) -> None:
    """Raises _ScimError unless the directory's own token is shown; no token of a person is good for this."""
    headers = request.headers.getall("authorization", [])
    scheme, _, token = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    right = services.scim_token
    same = hmac.compare_digest(token.strip().encode(), right if right is not None else secrets.token_bytes(32))
    if right is None or scheme.casefold() != "bearer" or not same:
        raise _ScimError(401, "present the directory's token")


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _ScimError(400, "the body is not JSON", "invalidSyntax") from None
    if not isinstance(value, dict) or b"\\u0000" in raw:
        raise _ScimError(400, "the body is no object, or holds the character NUL", "invalidSyntax")
    return value


def _patched(body: Mapping[str, Any]) -> dict[str, Any]:
    """What the operations of a patch state, in the form of a user. Raises _ScimError."""
    operations = next((value for name, value in body.items() if name.casefold() == "operations"), None)
    if not isinstance(operations, list) or len(operations) > _MAX_OPERATIONS:
        raise _ScimError(400, f"a patch has `Operations`, {_MAX_OPERATIONS} at most", "invalidSyntax")
    stated: dict[str, Any] = {}
    for one in operations:
        if not isinstance(one, dict) or str(one.get("op")).casefold() not in ("add", "replace", "remove"):
            raise _ScimError(400, "an operation is `add`, `replace` or `remove`", "invalidSyntax")
        path, value = one.get("path"), one.get("value")
        if str(one["op"]).casefold() == "remove":
            value = None
        if path is None:
            stated |= value if isinstance(value, dict) else {}
        elif isinstance(path, str):
            stated[path] = value
    return stated


def _is_active(stated: Mapping[str, Any]) -> bool | None:
    """What is said of `active`; None for nothing. Some directories write it as text. Raises _ScimError."""
    for name, value in stated.items():
        if name.casefold() == "active":
            if isinstance(value, bool):
                return value
            if isinstance(value, str) and value.casefold() in ("true", "false"):
                return value.casefold() == "true"
            raise _ScimError(400, "`active` is true or false", "invalidValue")
    return None


def _manager(unit: WriteUnit, stated: Mapping[str, Any], person: PersonRecord) -> str | None:
    """The manager after this: by id or address; one who is not known here is none."""
    extension = stated.get(ENTERPRISE)
    if isinstance(extension, dict) and "manager" in extension:
        value = extension["manager"]
    elif f"{ENTERPRISE}:manager" in stated or f"{ENTERPRISE}:manager.value" in stated:
        value = stated.get(f"{ENTERPRISE}:manager", stated.get(f"{ENTERPRISE}:manager.value"))
    else:
        return person.manager
    value = value.get("value") if isinstance(value, dict) else value
    known = unit.roster.find(person_key(value)) if isinstance(value, str) else None
    return None if known is None or known.name == person.name else known.name


def _change(services: Services, unit: WriteUnit, person: PersonRecord, stated: Mapping[str, Any]) -> PersonRecord:
    """Takes over what the directory says; who is active no more has left."""
    active = _is_active(stated)
    name = stated.get("userName")
    if isinstance(name, str) and person_key(name) != person.name:
        raise _ScimError(400, "a person's address does not change here: it is in what they own", "mutability")
    manager, external = _manager(unit, stated, person), stated.get("externalId")
    unit.roster.set_directory(person.name, manager, external if isinstance(external, str) else person.external_id)
    roster = services.roster_over(unit)
    if active is False and person.status == "active":
        heir = None if manager is None else unit.roster.find(manager)
        successor = heir.name if heir is not None and heir.status == "active" else None
        by = Authorship(actor=_BY, reason=f"{person.name} left, says the directory", idempotency_key="scim")
        left = roster.leave(person.name, successor, by)
        if isinstance(left, Problem):
            raise _ScimError(409, left.detail)
    elif active is True and person.status == "left":
        roster.come_back(person.name, _BY)
    stored = unit.roster.find(person.name)
    assert stored is not None
    return stored


def _written(
    services: Services, verb: str, stated: Mapping[str, Any], do: Callable[[WriteUnit], PersonRecord]
) -> dict[str, Any]:
    def kept(unit: WriteUnit) -> tuple[dict[str, Any], dict[str, Any]]:
        user = user_of(do(unit))
        return user, user

    # Of what a directory knows about a person, no more is kept than is used.
    used = {name: value for name, value in stated.items() if name in ("id", "userName", "externalId", "active")}
    asked = {"operation": f"scim {verb}", "actor": _BY.name, "stated": used}
    done = services.writes.once(f"scim-{secrets.token_hex(16)}", asked, kept)
    assert isinstance(done, dict), "the key is fresh"
    return done


def _known(unit: WriteUnit, user: str) -> PersonRecord:
    person = unit.roster.find(user)
    if person is None or person.id != user:
        raise _unknown()
    return person


def _unknown() -> _ScimError:
    return _ScimError(404, "there is no such user")


def user_of(person: PersonRecord) -> dict[str, Any]:
    """A person as SCIM has users."""
    user: dict[str, Any] = {
        "schemas": [USER, ENTERPRISE],
        "id": person.id,
        "userName": person.name,
        "active": person.status == "active",
        "emails": [{"value": person.name, "primary": True}],
        "meta": {"resourceType": "User", "created": person.created_at.isoformat()},
    }
    if person.external_id is not None:
        user["externalId"] = person.external_id
    if person.manager is not None:
        user[ENTERPRISE] = {"manager": {"value": person.manager}}
    return user
