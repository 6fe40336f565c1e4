"""A grants file over HTTP: its plan, and carrying it out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from litestar import Response, post
from litestar.params import FromQuery, JSONBody

from remit.api.answers import Applied, PlanGiven, grant_given
from remit.api.bodies import ApplyManifest, StrictRequest, digest
from remit.api.grants import require_parent
from remit.api.params import IfMatch, Injected, MaybeIdempotencyKey
from remit.api.problems import PROBLEM_RESPONSES, Refusal, items, refuse
from remit.api.services import Services
from remit.api.sight import Sight, unknown_grant
from remit.api.writes import Done, authorship, read_terms, require_no_match, write_once, written
from remit.grants.manifest import Manifest, parse_manifest
from remit.grants.model import Actor, Problem, parent_path_of
from remit.grants.plan import Plan, make_plan
from remit.grants.render import render_plan
from remit.grants.tree import Tree
from remit.store.postgres_writes import WriteUnit


@post("/v1/apply", sync_to_thread=True, status_code=200, responses=PROBLEM_RESPONSES, tags=["grants"])
def apply_manifest(  # noqa: PLR0917 - one parameter per part of the request
    request: StrictRequest,
    services: Injected,
    data: JSONBody[ApplyManifest],
    idempotency_key: MaybeIdempotencyKey = None,
    if_match: IfMatch = None,
    dry_run: FromQuery[bool] = False,
) -> Response[Applied | PlanGiven]:
    """Make the tree what the manifest says, all of it or nothing; with `dry_run`, only the plan."""
    manifest = parse_manifest(data.manifest)
    if not isinstance(manifest, Manifest):
        raise Refusal(manifest, 422)
    actor = request.user
    if dry_run:
        with services.repository.read() as reads:
            tree = Tree(reads.load_tree())
        plan = _plan(services, tree, actor, manifest, prune=data.prune)
        return Response(_given(plan, Sight(tree, actor).shown(plan.problems)))
    if idempotency_key is None:
        detail = "a write needs the header `Idempotency-Key`"
        raise refuse("idempotency_key_missing", detail, status=400, field="Idempotency-Key")
    terms = read_terms(idempotency_key, if_match)
    require_no_match(terms)
    if data.reason is None:
        raise refuse("reason_missing", "a write needs a reason", field="reason")
    reason = data.reason

    def do(unit: WriteUnit) -> Done:
        plan = _plan(services, unit.tree(), actor, manifest, prune=data.prune)
        if data.plan not in (None, plan_digest(plan)):
            raise refuse("plan_stale", "the tree has changed since the plan was made; plan again", field="plan")
        answer = services.grants_over(unit.grants).apply(plan, authorship(actor, reason, terms))
        given = Applied(grants=[grant_given(grant) for grant in written(unit, actor, answer).grants])
        return Done(200, given, given)

    response: Response[Any] = write_once(services, actor, terms, {"operation": "grant apply", **data.asked()}, do)
    return response


def plan_digest(plan: Plan) -> str:
    """A name for the steps of a plan: two plans of one name do the same."""
    return digest(plan.body())


def _plan(services: Services, tree: Tree, actor: Actor, manifest: Manifest, *, prune: bool) -> Plan:
    """The plan, for whoever sees what the manifest speaks for. Raises Refusal."""
    sight = Sight(tree, actor)
    for top in manifest.tops:
        if actor.is_admin:
            break
        if tree.at_path(top) is not None:
            if isinstance(sight.find(top), Problem):
                raise Refusal([unknown_grant(top)])
        elif parent_path_of(top) is None:
            detail = f"`{actor.name}` may not create `{top}`: that takes an admin"
            raise Refusal([Problem(code="not_permitted", path=top, detail=detail)])
        else:
            require_parent(sight, top, actor)
    return make_plan(manifest, tree, services.clock.now(), prune=prune)


def _given(plan: Plan, problems: Sequence[Problem]) -> PlanGiven:
    body = plan.body()
    return PlanGiven(
        plan=plan_digest(plan),
        text=render_plan(replace(plan, problems=tuple(problems))),
        creates=body["creates"],
        changes=body["changes"],
        revokes=body["revokes"],
        orphans=[grant.path for grant in plan.orphans],
        unchanged=list(plan.unchanged),
        problems=items(problems),
    )
