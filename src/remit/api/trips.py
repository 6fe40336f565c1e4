"""The routes of the runaway breaker's trips, and the feed for the security people."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Controller, Response, get, post
from litestar.params import JSONBody, PathParameter, QueryParameter

from remit.api.answers import Given
from remit.api.bodies import Body, Reason, StrictRequest
from remit.api.grants import seen
from remit.api.params import AfterNumber, IdempotencyKey, IfMatch, Injected, PageSize, Since, require_offsets
from remit.api.problems import PROBLEM_RESPONSES, Refusal
from remit.api.sight import Sight
from remit.api.writes import Done, read_terms, require_no_match, write_once
from remit.grants.model import Grant, Problem
from remit.grants.roles import may, owner_may
from remit.kernel.decisions import GrantClass
from remit.leases.breaker import Rule, ScopeKind, TripMode
from remit.store.postgres_writes import WriteUnit

TripId = Annotated[str, PathParameter(description="as refusals, notifications and the list name it")]


class EndTrip(Body, frozen=True, kw_only=True):
    """Why a trip is ended before its time."""

    reason: Reason


class TripGiven(Given, frozen=True, kw_only=True):
    """A trip: what of which grant, which rule with its numbers, the tags most of its calls share, and how it ended.

    `measured` and `allowed` are calls, nano-USD, repetitions or agents, by the rule.
    """

    seq: int
    id: str
    grant_id: str
    path: str
    owner: str
    scope: ScopeKind
    subject: str
    rule: Rule
    measured: int
    allowed: int
    calls: int
    tags: dict[str, str]
    mode: TripMode
    tripped_at: datetime
    until: datetime
    ended_at: datetime | None
    ended_by: str | None
    reason: str | None


class TripPage(Given, frozen=True, kw_only=True):
    """Trips, oldest first; `next` is where the next page begins, null on the last one."""

    trips: list[TripGiven]
    next: int | None


class AttemptGiven(Given, frozen=True, kw_only=True):
    """How often a holder tried what is not theirs to do. `subject` is an access key or the first block of a capability."""

    grant_id: str
    path: str
    grant_class: GrantClass | None = msgspec.field(name="class")
    owner: str | None
    kind: str
    subject: str
    key_name: str | None
    tag: str
    value: str
    count: int
    first_seen: datetime
    last_seen: datetime


class FeedGiven(Given, frozen=True, kw_only=True):
    """Attempts, the most frequent first."""

    attempts: list[AttemptGiven]


class Trips(Controller):
    """Lists and ends trips; only gateways trip."""

    path = "/v1/trips"
    tags = ["breaker"]  # noqa: RUF012 - the framework reads it from the class

    @get("/", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def list_trips(
        self,
        request: StrictRequest,
        services: Injected,
        active: Annotated[bool, QueryParameter(description="only those in effect")] = False,
        after: AfterNumber = 0,
        limit: PageSize = 100,
    ) -> TripPage:
        """Trips of the grants one sees, oldest first."""
        nodes = seen(services, request.user).ids()
        page = services.trips.page(after, limit, nodes, now=services.clock.now(), active=active)
        trips = [msgspec.convert(row, TripGiven) for row in page]
        return TripPage(trips=trips, next=trips[-1].seq if len(trips) == limit else None)

    @post("/{trip:str}/end", sync_to_thread=True, responses=PROBLEM_RESPONSES, status_code=200)
    def end(  # noqa: PLR0917 - one parameter per header, path and body
        self,
        request: StrictRequest,
        services: Injected,
        trip: TripId,
        data: JSONBody[EndTrip],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[TripGiven]:
        """Ends a trip at every gateway; again, it changes nothing."""
        terms = read_terms(idempotency_key, if_match)
        require_no_match(terms)
        actor, now = request.user, services.clock.now()

        def do(unit: WriteUnit) -> Done:
            found = unit.trips.find(trip, now)
            tree = unit.tree()
            grant = None if found is None else Sight(tree, actor).find(found["grant_id"])
            if not isinstance(grant, Grant):
                raise Refusal([Problem(code="unknown_trip", path="", detail=f"there is no trip `{trip[:40]}`")])
            path = tree.path_to(grant)
            # Letting a loop go on is a deed, and seeing it is not enough for it.
            if not (
                may(actor, "write_grants", path) or may(actor, "end", path) or owner_may(actor, "write_grants", path)
            ):
                detail = f"ending a trip takes an owner of `{grant.path}` or of what is above it, or security"
                raise Refusal([Problem(code="not_permitted", path=grant.path, detail=detail)])
            ended = unit.trips.end(trip, actor.name, data.reason, now)
            assert not isinstance(ended, Problem)
            answer = msgspec.convert(ended, TripGiven)
            return Done(200, answer, answer)

        asked: dict[str, Any] = {"operation": "breaker end", "trip": trip, "reason": data.reason}
        return write_once(services, actor, terms, asked, do)


@get("/v1/security/feed", sync_to_thread=True, responses=PROBLEM_RESPONSES, tags=["breaker"])
def security_feed(request: StrictRequest, services: Injected, since: Since = None, limit: PageSize = 100) -> FeedGiven:
    """How often holders tried what is not theirs to do, about the grants one sees."""
    require_offsets(since=since)
    rows = services.trips.feed(limit, seen(services, request.user).ids(), since)
    return FeedGiven(attempts=[msgspec.convert(row, AttemptGiven) for row in rows])
