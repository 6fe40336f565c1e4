"""Who calls: the bearer token of a person, checked before anything else of a request is read."""

from litestar.concurrency import sync_to_thread
from litestar.connection import ASGIConnection
from litestar.middleware.authentication import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.types import ASGIApp

from remit.api.people import PeopleService
from remit.api.problems import refuse
from remit.grants.ports import Said
from remit.kernel.clock import Clock
from remit.store.postgres_writes import PostgresWrites

OUTCOMES_PATH = "/v1/outcomes"
_MAX_OPERATION = 200
_DETAILS = {
    "unauthenticated": "present a person token: `Authorization: Bearer rp_...`",
    "token_expired": "this person token has expired; an admin makes a new one with `remit person create`",
    "token_revoked": "this person token was revoked",
    "person_left": "the person of this token left",
}


class PersonAuthentication(AbstractAuthenticationMiddleware):
    """Sets `request.user` to the `Actor` behind the token and `request.auth` to the token, or ends the request with 401.

    Here and nowhere else a token that may only read is held to that: by the method, whatever the route does. One that may only
    assert outcomes reaches the one route for them.
    """

    def __init__(self, app: ASGIApp, people: PeopleService, writes: PostgresWrites, clock: Clock) -> None:
        super().__init__(app)
        self._people = people
        self._writes = writes
        self._clock = clock

    async def authenticate_request(self, connection: ASGIConnection) -> AuthenticationResult:  # type: ignore[type-arg]
        headers = connection.headers.getall("authorization", [])
        scheme, _, token = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
        if scheme.casefold() != "bearer":
            raise refuse("unauthenticated", _DETAILS["unauthenticated"], status=401)
        known = await sync_to_thread(self._people.authenticate, token.strip())
        if isinstance(known, str):
            raise refuse(known, _DETAILS[known], status=401)
        actor, stored = known
        method = str(connection.scope.get("method"))
        why = None
        if actor.read_only and method not in ("GET", "HEAD"):
            why = "this token may only read"
        elif actor.asserts is not None and (method, connection.url.path) != ("POST", OUTCOMES_PATH):
            why = "this token may only assert outcomes"
        if why is not None:
            refusal = refuse("not_permitted", why)
            operation = f"{method} {connection.url.path}"[:_MAX_OPERATION]
            said = Said(at=self._clock.now(), actor=actor.name, operation=operation)
            await sync_to_thread(self._writes.refuse, said, {"token": stored.id}, refusal.problems)
            raise refusal
        return AuthenticationResult(user=actor, auth=stored)
