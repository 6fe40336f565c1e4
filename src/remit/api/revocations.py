"""The routes of revocations."""

from datetime import UTC
from typing import Annotated

from litestar import Controller, Response, get, post
from litestar.params import JSONBody, PathParameter

from remit.api.answers import GatewayGiven, RevocationGiven
from remit.api.bodies import Revoke, StrictRequest
from remit.api.grants import seen
from remit.api.params import IdempotencyKey, IfMatch, Injected
from remit.api.problems import PROBLEM_RESPONSES, Refusal
from remit.api.sight import Sight
from remit.api.writes import Done, authorship, read_terms, require_no_match, write_once
from remit.grants.model import Actor, Problem
from remit.grants.revocations import Revocation, Subject
from remit.grants.roles import may
from remit.store.postgres_revocations import PostgresRevocations
from remit.store.postgres_writes import WriteUnit

RevocationId = Annotated[str, PathParameter(description="as the revocation was answered with")]


class Revocations(Controller):
    """Ends a grant, a key, a capability's block or an issuer key at every gateway."""

    path = "/v1/revocations"
    tags = ["revocations"]  # noqa: RUF012 - the framework reads it from the class

    @post(sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def revoke(
        self,
        request: StrictRequest,
        services: Injected,
        data: JSONBody[Revoke],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[RevocationGiven]:
        """Takes effect with the answer; ask for it again by its id to see which gateways know."""
        terms = read_terms(idempotency_key, if_match)
        require_no_match(terms)
        actor = request.user
        issued_before = None if data.issued_before is None else data.issued_before.astimezone(UTC)

        def do(unit: WriteUnit) -> Done:
            service = services.revocations_over(unit)
            found = service.find(data.word, issued_before) if data.token is None else service.find_token(data.subject)
            subject = _seen(unit, actor, found, data)
            by = authorship(actor, data.reason, terms)
            done = service.revoke(subject, by, cut=data.cut, issued_before=issued_before)
            if isinstance(done, Problem):
                raise Refusal([done])
            answer = _given(done, unit.revocations)
            return Done(201, answer, answer)

        return write_once(services, actor, terms, {"operation": "revoke", **data.asked()}, do)

    @get("/{revocation:str}", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def show(self, request: StrictRequest, services: Injected, revocation: RevocationId) -> RevocationGiven:
        """Which gateways know of it, and what calls under way can still cost."""
        found = services.reach.find(revocation)
        grant_id = None if found is None else found.grant_id
        visible = (
            may(request.user, "read_grants") if grant_id is None else _sees(seen(services, request.user), grant_id)
        )
        if found is None or not visible:
            detail = f"there is no revocation `{revocation}`"
            raise Refusal([Problem(code="unknown_revocation", path="", detail=detail)])
        return _given(found, services.reach)


def _sees(sight: Sight, grant_id: str) -> bool:
    return not isinstance(sight.find(grant_id), Problem)


def _seen(unit: WriteUnit, actor: Actor, found: Subject | Problem, data: Revoke) -> Subject:
    """What was found, if its author sees it. Raises Refusal, one and the same for what is not there and what is not seen."""
    if actor.is_admin:
        if isinstance(found, Problem):
            raise Refusal([found])
        return found
    if isinstance(found, Problem) or found.grant is None or not _sees(Sight(unit.tree(), actor), found.grant.id):
        shown = "this capability" if data.token is not None else f"`{data.word[:80]}`"
        detail = f"nothing of yours is named {shown}"
        raise Refusal([Problem(code="unknown_subject", path="", field="subject", detail=detail)])
    return found


def _given(done: Revocation, store: PostgresRevocations) -> RevocationGiven:
    holds = store.holds_of(done)
    return RevocationGiven(
        id=done.id,
        kind=done.kind,
        subject=done.subject,
        grant_id=done.grant_id,
        cut=done.cut_streams,
        issued_before=done.issued_before,
        tree_revision=done.tree_revision,
        revoked_at=done.revoked_at,
        revoked_by=done.revoked_by,
        reason=done.reason,
        gateways=[
            GatewayGiven(
                name=one.name,
                knows=one.acknowledged_revision >= done.tree_revision,
                gone=one.is_gone,
                seen_at=one.seen_at,
            )
            for one in store.gateways()
        ],
        calls_under_way=holds.count,
        at_most_nanousd=holds.ceiling_nanousd,
    )
