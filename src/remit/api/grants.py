"""The routes of grants."""

from collections.abc import Callable
from datetime import UTC
from typing import Annotated, Any

from litestar import Controller, Response, get, patch, post
from litestar.params import FromQuery, JSONBody, PathParameter, QueryParameter

from remit.api.answers import GrantGiven, GrantPage, History, RevisionGiven, grant_given
from remit.api.bodies import Body, CreateGrant, EditGrant, RenewGrant, StrictRequest, Why
from remit.api.params import AfterNumber, IdempotencyKey, IfMatch, Injected, PageSize, grant_ref
from remit.api.problems import PROBLEM_RESPONSES, Refusal
from remit.api.services import Services
from remit.api.sight import Sight
from remit.api.writes import (
    Done,
    Terms,
    authorship,
    matching_grant,
    read_terms,
    require_no_match,
    write_once,
    written,
)
from remit.grants.model import Actor, Grant, GrantStatus, Problem, is_within, parent_path_of
from remit.grants.roles import Right
from remit.grants.service import Answer, Authorship, GrantService
from remit.grants.tree import Tree
from remit.store.postgres_writes import WriteUnit

Ref = Annotated[str, PathParameter(description="id, or path with its slashes as `%2F`")]


class Grants(Controller):
    """Reads need sight of the grant; what a write needs is decided by the grant service."""

    path = "/v1/grants"
    tags = ["grants"]  # noqa: RUF012 - the framework reads it from the class

    @get(sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def list_grants(  # noqa: PLR0917 - one parameter per query parameter
        self,
        request: StrictRequest,
        services: Injected,
        under: FromQuery[str | None] = None,
        status: FromQuery[GrantStatus | None] = None,
        after: Annotated[str | None, QueryParameter(description="path of the last grant of the page before")] = None,
        limit: PageSize = 100,
    ) -> GrantPage:
        """The grants one sees, parents before children."""
        sight = seen(services, request.user)
        top = None if under is None else found(sight, under)
        grants = [
            grant
            for grant in sight.grants()
            if (top is None or is_within(grant.path, top.path))
            and status in (None, grant.status)
            and (after is None or grant.path.split("/") > after.split("/"))
        ]
        page = [grant_given(grant) for grant in grants[:limit]]
        return GrantPage(grants=page, next=page[-1].path if len(grants) > limit else None)

    @get("/{grant:str}", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def get_grant(self, request: StrictRequest, services: Injected, grant: Ref) -> Response[GrantGiven]:
        """One grant; `ETag` is its revision."""
        one = found(seen(services, request.user), grant_ref(grant))
        return Response(grant_given(one), headers={"etag": f'"{one.revision}"'})

    @get("/{grant:str}/history", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def history(
        self, request: StrictRequest, services: Injected, grant: Ref, after: AfterNumber = 0, limit: PageSize = 100
    ) -> History:
        """Every change of a grant, oldest first."""
        with services.repository.read() as reads:
            one = found(Sight(Tree(reads.load_tree()), request.user), grant_ref(grant))
            revisions = [revision for revision in reads.revisions(one.id) if revision.revision > after]
        page = [
            RevisionGiven(
                revision=revision.revision,
                changed_at=revision.changed_at.astimezone(UTC),
                changed_by=revision.changed_by,
                reason=revision.reason,
                idempotency_key=revision.idempotency_key,
                body=dict(revision.body),
            )
            for revision in revisions[:limit]
        ]
        return History(revisions=page, next=page[-1].revision if len(revisions) > limit else None)

    @post(sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def create(
        self,
        request: StrictRequest,
        services: Injected,
        data: JSONBody[CreateGrant],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[GrantGiven]:
        """A new grant below its parent; a root takes an admin."""
        terms = read_terms(idempotency_key, if_match)
        require_no_match(terms)
        actor = request.user

        def do(unit: WriteUnit) -> Done:
            require_parent(Sight(unit.tree(), actor), data.path, actor)
            service = services.grants_over(unit.grants)
            return _done(unit, actor, 201, service.create(data.new_grant(), authorship(actor, data.reason, terms)))

        return write_once(services, actor, terms, {"operation": "grant create", **data.asked()}, do)

    @patch("/{grant:str}", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def edit(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        grant: Ref,
        data: JSONBody[EditGrant],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[GrantGiven]:
        """New values for the fields that are stated."""
        terms = read_terms(idempotency_key, if_match)
        return _change(
            services,
            request.user,
            grant,
            terms,
            "edit",
            data,
            lambda service, ref, by: service.change(ref, data.edit(), by),
        )

    @post("/{grant:str}/activate", sync_to_thread=True, status_code=200, responses=PROBLEM_RESPONSES)
    def activate(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        grant: Ref,
        data: JSONBody[Why],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[GrantGiven]:
        """Make a requested grant active; that takes the owner of one above it, or an admin."""
        terms = read_terms(idempotency_key, if_match)
        return _change(services, request.user, grant, terms, "activate", data, GrantService.activate)

    @post("/{grant:str}/suspend", sync_to_thread=True, status_code=200, responses=PROBLEM_RESPONSES)
    def suspend(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        grant: Ref,
        data: JSONBody[Why],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[GrantGiven]:
        """Stop spending at once, reversibly."""
        terms = read_terms(idempotency_key, if_match)
        return _change(services, request.user, grant, terms, "suspend", data, GrantService.suspend)

    @post("/{grant:str}/resume", sync_to_thread=True, status_code=200, responses=PROBLEM_RESPONSES)
    def resume(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        grant: Ref,
        data: JSONBody[Why],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[GrantGiven]:
        """Make a suspended grant active again."""
        terms = read_terms(idempotency_key, if_match)
        return _change(services, request.user, grant, terms, "resume", data, GrantService.resume)

    @post("/{grant:str}/renew", sync_to_thread=True, status_code=200, responses=PROBLEM_RESPONSES)
    def renew(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        grant: Ref,
        data: JSONBody[RenewGrant],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[GrantGiven]:
        """Move the expiry later; an expired grant becomes active again."""
        terms = read_terms(idempotency_key, if_match)
        return _change(
            services,
            request.user,
            grant,
            terms,
            "renew",
            data,
            lambda service, ref, by: service.renew(ref, data.until(), by),
        )

    @post("/{grant:str}/revoke", sync_to_thread=True, status_code=200, responses=PROBLEM_RESPONSES)
    def revoke(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        grant: Ref,
        data: JSONBody[Why],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[GrantGiven]:
        """End a grant and everything below it for good."""
        terms = read_terms(idempotency_key, if_match)
        actor, ref = request.user, grant_ref(grant)

        def do(unit: WriteUnit) -> Done:
            stored = matching_grant(unit, actor, ref, terms)
            by = authorship(actor, data.reason, terms)
            return _done(unit, actor, 200, services.revocations_over(unit).revoke_grant(stored.id, by))

        return write_once(services, actor, terms, {"operation": "grant revoke", "grant": ref, **data.asked()}, do)


def seen(services: Services, actor: Actor, right: Right = "read_grants") -> Sight:
    """What a person sees of the tree at this moment, or of what belongs to its grants."""
    with services.repository.read() as reads:
        return Sight(Tree(reads.load_tree()), actor, right)


def found(sight: Sight, ref: str) -> Grant:
    """The grant, if it is seen. Raises Refusal."""
    grant = sight.find(ref)
    if isinstance(grant, Problem):
        raise Refusal([grant])
    return grant


def require_parent(sight: Sight, path: str, actor: Actor) -> None:
    """Below what one does not see nothing is created, and nothing is said about it. Raises Refusal."""
    parent = parent_path_of(path)
    if parent is None or actor.is_admin or isinstance(sight.find(parent), Grant):
        return
    detail = f"`{path}` has no parent: there is no grant `{parent}`"
    raise Refusal([Problem(code="parent_unknown", path=path, field="path", detail=detail)])


def _change(  # noqa: PLR0917 - the six routes pass what they were given
    services: Services,
    actor: Actor,
    segment: str,
    terms: Terms,
    verb: str,
    data: Body,
    change: Callable[[GrantService, str, Authorship], Answer],
) -> Response[Any]:
    """One write to one stored grant."""
    ref = grant_ref(segment)

    def do(unit: WriteUnit) -> Done:
        grant = matching_grant(unit, actor, ref, terms)
        reason: str = data.parts()["reason"]
        return _done(
            unit, actor, 200, change(services.grants_over(unit.grants), grant.id, authorship(actor, reason, terms))
        )

    return write_once(services, actor, terms, {"operation": f"grant {verb}", "grant": ref, **data.asked()}, do)


def _done(unit: WriteUnit, actor: Actor, status: int, answer: Answer) -> Done:
    grant = written(unit, actor, answer).grant
    given = grant_given(grant)
    return Done(status, given, given, grant.revision)
