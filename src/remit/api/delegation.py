"""The routes of handing on: split, transfer, reclaim, and why a grant can spend what it can."""

from typing import Annotated

from litestar import Controller, Response, get, post
from litestar.params import FromQuery, JSONBody, QueryParameter

from remit.api.answers import GrantGiven, grant_given
from remit.api.bodies import StrictRequest
from remit.api.delegation_bodies import (
    MovedGiven,
    ReclaimGrant,
    SplitGiven,
    SplitGrant,
    TransferLimit,
    WhyGiven,
    handed_out_given,
    why_given,
)
from remit.api.grants import Ref, found
from remit.api.params import IdempotencyKey, IfMatch, Injected, grant_ref
from remit.api.problems import PROBLEM_RESPONSES
from remit.api.sight import Sight
from remit.api.writes import Done, authorship, matching_grant, read_terms, write_once, written
from remit.grants.division import handed_out
from remit.grants.tree import Tree
from remit.grants.usage import Usage
from remit.grants.why import why
from remit.kernel.money import MAX_NANOUSD
from remit.store.postgres_writes import WriteUnit


class Delegation(Controller):
    """What owners hand on. Reads need sight of the grant, writes of all they name; the grant service decides the rest."""

    path = "/v1/grants"
    tags = ["grants"]  # noqa: RUF012 - the framework reads it from the class

    @get("/{grant:str}/why", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def why(
        self,
        request: StrictRequest,
        services: Injected,
        grant: Ref,
        model: FromQuery[str | None] = None,
        usd: Annotated[
            int | None,
            QueryParameter(
                ge=0,
                le=MAX_NANOUSD,
                description="what a call may cost, in nano-USD",
                schema_extra={"minimum": 0, "maximum": MAX_NANOUSD},
            ),
        ] = None,
    ) -> WhyGiven:
        """Which limits, restrictions and boundaries bind a grant now, and whether a call would pass them."""
        now = services.clock.now()
        with services.repository.read() as reads:
            tree = Tree(reads.load_tree())
            sight = Sight(tree, request.user)
            one = found(sight, grant_ref(grant))
            usage = Usage(reads.used([node.id for node in tree.path_to(one)], now), now)
        return why_given(why(tree, one, usage, now, sight.sees, model=model, usd=usd))

    @post("/{grant:str}/split", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def split(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        grant: Ref,
        data: JSONBody[SplitGrant],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[SplitGiven]:
        """Several children in one write, from amounts or from shares of what is not handed out yet."""
        terms = read_terms(idempotency_key, if_match)
        actor, ref = request.user, grant_ref(grant)

        def do(unit: WriteUnit) -> Done:
            parent = matching_grant(unit, actor, ref, terms)
            by = authorship(actor, data.reason, terms)
            parts = [part.part() for part in data.parts_]
            answer = services.grants_over(unit.grants).split(parent.id, parts, by, data.period)
            made = [grant_given(one) for one in written(unit, actor, answer).grants]
            after = handed_out(unit.tree(), parent, services.clock.now())
            given = SplitGiven(grants=made, handed_out=[handed_out_given(one) for one in after])
            return Done(201, given, given)

        return write_once(services, actor, terms, {"operation": "grant split", "grant": ref, **data.asked()}, do)

    @post("/{grant:str}/transfer", sync_to_thread=True, status_code=200, responses=PROBLEM_RESPONSES)
    def transfer(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        grant: Ref,
        data: JSONBody[TransferLimit],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[MovedGiven]:
        """Move a part of a limit, unspent in its present period, to a sibling."""
        terms = read_terms(idempotency_key, if_match)
        actor, ref = request.user, grant_ref(grant)

        def do(unit: WriteUnit) -> Done:
            source = matching_grant(unit, actor, ref, terms)
            target = found(Sight(unit.tree(), actor), data.to)
            moved = data.moved()
            by = authorship(actor, data.reason, terms)
            answer = services.grants_over(unit.grants).transfer(
                source.id, target.id, moved.dimension, moved.period, moved.amount, by
            )
            after = written(unit, actor, answer).grants
            given = MovedGiven(source=grant_given(after[0]), target=grant_given(after[1]))
            return Done(200, given, given)

        return write_once(services, actor, terms, {"operation": "grant transfer", "grant": ref, **data.asked()}, do)

    @post("/{grant:str}/reclaim", sync_to_thread=True, status_code=200, responses=PROBLEM_RESPONSES)
    def reclaim(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        grant: Ref,
        data: JSONBody[ReclaimGrant],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[GrantGiven]:
        """Take back what a grant has neither used nor handed on."""
        terms = read_terms(idempotency_key, if_match)
        actor, ref = request.user, grant_ref(grant)

        def do(unit: WriteUnit) -> Done:
            stored = matching_grant(unit, actor, ref, terms)
            by = authorship(actor, data.reason, terms)
            answer = services.grants_over(unit.grants).reclaim(stored.id, by, data.part())
            after = written(unit, actor, answer).grant
            given = grant_given(after)
            return Done(200, given, given, after.revision)

        return write_once(services, actor, terms, {"operation": "grant reclaim", "grant": ref, **data.asked()}, do)
