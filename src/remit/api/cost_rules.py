"""The routes of rules that divide shared cost: writing them, and what they come to in a month."""

from collections.abc import Callable
from typing import Annotated

import msgspec
from litestar import Controller, Response, get, post, put
from litestar.params import FromQuery, JSONBody, PathParameter, QueryParameter
from msgspec import Meta

from remit.api.allocating import Allocated, AllocatingService, RuleTerms, preview, unknown_rule
from remit.api.answers import Given
from remit.api.bodies import Body, Reason, StrictRequest, Text
from remit.api.params import IdempotencyKey, IfMatch, Injected
from remit.api.problems import PROBLEM_RESPONSES, Refusal, refuse
from remit.api.services import Services
from remit.api.writes import Done, read_terms, require_no_match, write_once
from remit.grants.model import Actor, Problem
from remit.grants.roles import may
from remit.ledger.allocate import MAX_TARGETS, CostRule, Measure, Method, Target, Use
from remit.ledger.months import month_of, month_text
from remit.store.postgres_writes import WriteUnit

RuleRef = Annotated[str, PathParameter(description="the rule's name")]
MONTH = "^[1-9][0-9]{3}-(0[1-9]|1[0-2])$"
Conditions = Annotated[dict[Text, Annotated[tuple[Text, ...], Meta(max_length=200)]], Meta(max_length=16)]
Labels = Annotated[dict[Text, Text], Meta(max_length=16)]


class UseBody(Body, frozen=True, kw_only=True):
    """A measure of charges that meet conditions, by `grant` or by the values of a tag."""

    measure: Measure
    only: Conditions = msgspec.field(default_factory=dict)
    by: Text = "grant"


class TargetBody(Body, frozen=True, kw_only=True):
    """Who bears a part: a grant (id or path), under its labels and these tags; null for whoever bears it now."""

    grant: Text | None
    tags: Labels = msgspec.field(default_factory=dict)
    ppm: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


class SetCostRule(Body, frozen=True, kw_only=True):
    """A rule as a whole: `use` for `by_use`, `targets` for the other methods."""

    owner: Text
    description: Annotated[str, Meta(min_length=1, max_length=500)]
    source: Conditions
    method: Method
    use: UseBody | None = None
    targets: Annotated[tuple[TargetBody, ...], Meta(max_length=MAX_TARGETS)] = ()
    reason: Reason


class RetireCostRule(Body, frozen=True, kw_only=True):
    """Why a rule ends."""

    reason: Reason


class PostCost(Body, frozen=True, kw_only=True):
    """Which month's cost is divided, in UTC, and why."""

    month: Annotated[str, Meta(pattern=MONTH)]
    reason: Reason


class TargetGiven(Given, frozen=True, kw_only=True):
    """Who bears a part; `grant_id` null for whoever bears it now."""

    grant_id: str | None
    tags: dict[str, str]
    ppm: int | None


class UseGiven(Given, frozen=True, kw_only=True):
    """What a cost is divided by."""

    measure: Measure
    only: dict[str, list[str]]
    by: str


class CostRuleGiven(Given, frozen=True, kw_only=True):
    """A rule at its last revision: who wrote that, and who else posted it first, null where nobody did yet."""

    name: str
    revision: int
    owner: str
    description: str
    source: dict[str, list[str]]
    method: Method
    use: UseGiven | None
    targets: list[TargetGiven]
    is_retired: bool
    written_by: str
    agreed_by: str | None


class CostRulePage(Given, frozen=True, kw_only=True):
    """Rules, by name."""

    cost_rules: list[CostRuleGiven]


class CostMovedGiven(Given, frozen=True, kw_only=True):
    """An amount that leaves or arrives; `weight` of `of`, in `unit`, is the share of what arrives."""

    grant_id: str
    tags: dict[str, str]
    amount_nanousd: int
    weight: int | None = None
    of: int | None = None
    unit: str | None = None


class AllocatedGiven(Given, frozen=True, kw_only=True):
    """What a rule moves of a month; nothing where `transfer_id` is null. Entries are there once it is posted."""

    rule: str
    revision: int
    method: Method
    month: str
    booked_in: str
    transfer_id: str | None
    amount_nanousd: int
    sources: list[CostMovedGiven]
    parts: list[CostMovedGiven]
    entry_ids: list[str]


class CostRules(Controller):
    """Rules are written and retired, never removed; what they moved stays moved."""

    path = "/v1/cost-rules"
    tags = ["ledger"]  # noqa: RUF012 - the framework reads it from the class

    @get(sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def list_rules(self, request: StrictRequest, services: Injected, retired: FromQuery[bool] = False) -> CostRulePage:
        """The rules there are; for who may read the whole ledger."""
        _require_reader(request.user)
        return CostRulePage(cost_rules=[rule_given(one) for one in services.cost_rules.all(retired=retired)])

    @get("/{rule:str}", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def read(self, request: StrictRequest, services: Injected, rule: RuleRef) -> Response[CostRuleGiven]:
        """One of them; `ETag` is its revision."""
        _require_reader(request.user)
        found = services.cost_rules.find(rule)
        if found is None:
            raise Refusal([unknown_rule(rule)])
        return Response(rule_given(found), headers={"etag": f'"{found.revision}"'})

    @put("/{rule:str}", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def write(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        rule: RuleRef,
        data: JSONBody[SetCostRule],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[CostRuleGiven]:
        """Writes a rule, or its next revision; takes `allocate`."""
        actor = request.user

        def do(service: AllocatingService, revision: int | None) -> CostRule | Problem:
            return service.set(rule, _terms(data), actor, data.reason, revision)

        asked = {"operation": "allocate set", "cost_rule": rule, **data.asked()}
        return _write(request, services, idempotency_key, if_match, asked, do)

    @post("/{rule:str}/retire", sync_to_thread=True, status_code=200, responses=PROBLEM_RESPONSES)
    def retire(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        rule: RuleRef,
        data: JSONBody[RetireCostRule],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[CostRuleGiven]:
        """Ends a rule; takes `allocate`."""

        def do(service: AllocatingService, revision: int | None) -> CostRule | Problem:
            return service.retire(rule, request.user, data.reason, revision)

        asked = {"operation": "allocate retire", "cost_rule": rule, **data.asked()}
        return _write(request, services, idempotency_key, if_match, asked, do)

    @get("/{rule:str}/preview", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def preview(
        self,
        request: StrictRequest,
        services: Injected,
        rule: RuleRef,
        month: Annotated[str, QueryParameter(pattern=MONTH, description="in UTC, such as `2026-10`")],
    ) -> AllocatedGiven:
        """What posting the rule for a month would move now; for who may read the whole ledger."""
        _require_reader(request.user)
        found = preview(services.cost_rules, rule, month_of(month))
        if isinstance(found, Problem):
            raise Refusal([found])
        return allocated_given(found)

    @post("/{rule:str}/post", sync_to_thread=True, status_code=200, responses=PROBLEM_RESPONSES)
    def post(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        rule: RuleRef,
        data: JSONBody[PostCost],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[AllocatedGiven]:
        """Posts what the rule still has to move in a month, as transfers; takes `allocate`. No limit changes by it.

        A revision is first posted by somebody who did not write it, and never by who is charged less by it.
        """
        terms = read_terms(idempotency_key, if_match)
        require_no_match(terms)
        actor = request.user

        def do(unit: WriteUnit) -> Done:
            made = services.allocating_over(unit).post(rule, month_of(data.month), actor, data.reason)
            if isinstance(made, Problem):
                raise Refusal([made])
            given = allocated_given(made)
            return Done(200, given, given)

        return write_once(services, actor, terms, {"operation": "allocate post", "cost_rule": rule, **data.asked()}, do)


def rule_given(one: CostRule) -> CostRuleGiven:
    """As it is answered."""
    use = one.use
    return CostRuleGiven(
        name=one.name,
        revision=one.revision,
        owner=one.owner,
        description=one.description,
        source={name: list(values) for name, values in one.source.items()},
        method=one.method,
        use=None
        if use is None
        else UseGiven(measure=use.measure, only={name: list(values) for name, values in use.only.items()}, by=use.by),
        targets=[TargetGiven(grant_id=each.grant_id, tags=dict(each.tags), ppm=each.ppm) for each in one.targets],
        is_retired=one.is_retired,
        written_by=one.written_by,
        agreed_by=one.agreed_by,
    )


def allocated_given(one: Allocated) -> AllocatedGiven:
    """As it is answered."""
    moved = one.transfer
    sources = [] if moved is None else moved.sources
    return AllocatedGiven(
        rule=one.rule.name,
        revision=one.rule.revision,
        method=one.rule.method,
        month=month_text(one.month),
        booked_in=month_text(one.booked_in),
        transfer_id=None if moved is None else moved.id,
        amount_nanousd=sum(amount for _, amount in sources),
        sources=[
            CostMovedGiven(grant_id=bearer.grant_id, tags=dict(bearer.tags), amount_nanousd=amount)
            for bearer, amount in sources
        ],
        parts=[
            CostMovedGiven(
                grant_id=part.bearer.grant_id,
                tags=dict(part.bearer.tags),
                amount_nanousd=part.amount_nanousd,
                weight=None if part.share is None else part.share.weight,
                of=None if part.share is None else part.share.of,
                unit=None if part.share is None else part.share.unit,
            )
            for part in (() if moved is None else moved.parts)
        ],
        entry_ids=list(one.entry_ids),
    )


def _require_reader(actor: Actor) -> None:
    if not may(actor, "read_ledger"):
        raise refuse("not_permitted", "how cost is divided: that takes a role that reads the whole ledger")


def _terms(data: SetCostRule) -> RuleTerms:
    use = None if data.use is None else Use(measure=data.use.measure, only=data.use.only, by=data.use.by)
    targets = [Target(grant_id=one.grant, tags=one.tags, ppm=one.ppm) for one in data.targets]
    return RuleTerms(
        owner=data.owner,
        description=data.description,
        source=data.source,
        method=data.method,
        use=use,
        targets=targets,
    )


def _write(  # noqa: PLR0917 - one parameter per part of the request
    request: StrictRequest,
    services: Services,
    idempotency_key: str,
    if_match: str | None,
    asked: dict[str, object],
    do: Callable[[AllocatingService, int | None], CostRule | Problem],
) -> Response[CostRuleGiven]:
    terms = read_terms(idempotency_key, if_match)

    def done(unit: WriteUnit) -> Done:
        made = do(services.allocating_over(unit), terms.if_match)
        if isinstance(made, Problem):
            raise Refusal([made])
        given = rule_given(made)
        return Done(200, given, given, made.revision)

    return write_once(services, request.user, terms, asked, done)
