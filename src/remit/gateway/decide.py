"""The decision before the hold: pure, on values read beforehand, in the documented order of refusals."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from remit.gateway.bearer import BearerPolicy, forbidden
from remit.gateway.deployments import Deployment
from remit.gateway.principal import Principal
from remit.grants.tags import ResolvedTags, check_tags, class_contradiction, resolve_tags
from remit.grants.vocabulary import first_not_allowed, nearest, not_allowed_text
from remit.kernel.decisions import RefusalCode, Refused
from remit.kernel.names import model_matches
from remit.pricing.book import PriceBook
from remit.pricing.ceiling import Ceiling, RequestBound, ceiling
from remit.pricing.input_bound import (
    NO_IMAGES,
    OPENAI_OVERHEAD,
    Unbounded,
    input_token_bound,
    output_token_bound,
    overhead_of,
)
from remit.pricing.model import ModelPrices, Unpriced
from remit.providers.openai import ChatRequest, Problem, exact_input_tokens, image_tokens, sent_service_tier

CHAT_SURFACE = "chat.completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A request that may be sent if its hold can be taken. Bounds in tokens; `output_bound` is per choice."""

    principal: Principal
    request: ChatRequest
    deployment: Deployment
    prices: ModelPrices
    tags: ResolvedTags
    input_bound: int
    output_bound: int
    ceiling: Ceiling
    exact: bool

    @property
    def path(self) -> str:
        return self.principal.leaf.grant.leaf.path

    @property
    def paths(self) -> dict[str, str]:
        """How the nodes that are held on are called, by their ids."""
        nodes = self.principal.leaf.terms_with(self.principal.verified.blocks)
        return {node.node_id: node.path for node in nodes}


@dataclass(frozen=True, slots=True)
class Rulebook:
    """What deciding needs besides the request and the principal."""

    prices: PriceBook
    deployments: tuple[Deployment, ...]
    bearer: BearerPolicy = BearerPolicy()


@dataclass(frozen=True, slots=True)
class CallerTags:
    """What a caller says of a request. `overridden` are values in `metadata` that the header states otherwise.

    `unusable` are those that can be no tag; they are left alone unless their name is governed.
    """

    values: Mapping[str, str]
    overridden: Mapping[str, str] = field(default_factory=dict)
    unusable: Mapping[str, str] = field(default_factory=dict)


def caller_tags(
    header: Mapping[str, str], metadata: Mapping[str, str], baggage: Mapping[str, str] = MappingProxyType({})
) -> CallerTags:
    """The caller's tags: those in baggage, overlaid with `metadata` that can be tags and these with the `remit-tags` header.

    All are bounded where read.

    Metadata has other uses, so what cannot be a tag there is left alone rather than refused.
    """
    usable = {name: value for name, value in metadata.items() if check_tags({name: value}) is None}
    unusable = {} if len(usable) == len(metadata) else {n: v for n, v in metadata.items() if n not in usable}
    weaker = {**baggage, **usable}
    said = {**weaker, **header}
    return CallerTags(said, {name: value for name, value in weaker.items() if said[name] != value}, unusable)


def decide(
    rulebook: Rulebook, principal: Principal, request: ChatRequest | Problem, tags: CallerTags, now: datetime
) -> Admission | Refused:
    """Everything that can be decided without a hold. `request` is a Problem where only its shape is at fault."""
    grant = principal.leaf.grant
    if refused := grant.refusal_at(now):
        return refused
    if (whose := _surface_refused_by(principal)) is not None:
        return _refused(
            principal, RefusalCode.surface_not_allowed, f"`{CHAT_SURFACE}` is not among the {whose} surfaces"
        )
    allowed: list[Deployment] = []
    if request.model is not None:
        if (whose := _model_refused_by(principal, request.model)) is not None:
            detail = f"`{request.model}` is not among the {whose} models"
            return _refused(principal, RefusalCode.model_not_allowed, detail)
        candidates = [one for one in rulebook.deployments if one.serves(request.model)]
        allowed = [one for one in candidates if grant.shape.vendors is None or one.vendor in grant.shape.vendors]
        if candidates and not allowed:
            detail = f"`{request.model}` is served by vendors that are not among the grant's"
            return _refused(principal, RefusalCode.model_not_allowed, detail)
    resolved = _check_tags(principal, tags)
    if isinstance(resolved, Refused):
        return resolved
    if refused := refused_as_bearer(rulebook, principal):
        return refused
    if isinstance(request, Problem):
        return _refused(principal, request.code, request.detail)
    if problem := _output_or_tools_problem(principal, request):
        return _refused(principal, RefusalCode.shape_exceeded, problem)
    if not allowed:
        return _without_deployment(rulebook, principal, request, now)
    deployment = _first_priced(rulebook, allowed, request.model, now)
    return _bounded(rulebook, _Candidate(principal, request, deployment, resolved), now, exact=False)


def _first_priced(rulebook: Rulebook, allowed: list[Deployment], model: str, now: datetime) -> Deployment:
    """The first that has a price for the model; where none has, or there is no choice, the first says why."""
    if len(allowed) == 1:
        return allowed[0]
    lookup = rulebook.prices.lookup
    return next((one for one in allowed if isinstance(lookup(one.vendor, model, now), ModelPrices)), allowed[0])


def refused_as_bearer(rulebook: Rulebook, principal: Principal) -> Refused | None:
    """What the policy over capabilities without proof of possession says of this one, None where it may be used."""
    by = forbidden(rulebook.bearer, principal.verified, principal.leaf)
    if by is None:
        return None
    return replace(_refused(principal, RefusalCode.policy_forbidden, by.detail), policy_ids=(by.policy_id,))


def with_exact_count(rulebook: Rulebook, admission: Admission, now: datetime) -> Admission | None:
    """The same admission with input counted by the model's own tokenizer, if that makes its ceiling lower."""
    if admission.exact or not admission.deployment.exact_counts:
        return None
    candidate = _Candidate(admission.principal, admission.request, admission.deployment, admission.tags)
    better = _bounded(rulebook, candidate, now, exact=True)
    if isinstance(better, Refused):
        return None
    before, after = admission.ceiling, better.ceiling
    return better if after.nanousd < before.nanousd or after.tokens < before.tokens else None


def models_allowed(rulebook: Rulebook, principal: Principal, names: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of (vendor, model) pairs, those this principal could have served now."""
    vendors = principal.leaf.grant.shape.vendors
    return [
        (vendor, model)
        for vendor, model in names
        if _model_refused_by(principal, model) is None
        and (vendors is None or vendor in vendors)
        and any(one.vendor == vendor and one.serves(model) for one in rulebook.deployments)
    ]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A request that may go to a deployment, but for its bounds and price."""

    principal: Principal
    request: ChatRequest
    deployment: Deployment
    tags: ResolvedTags


def _bounded(rulebook: Rulebook, candidate: _Candidate, now: datetime, *, exact: bool) -> Admission | Refused:
    principal, request, deployment = candidate.principal, candidate.request, candidate.deployment
    vendor, model, shape = deployment.vendor, request.model, principal.leaf.grant.shape
    prices = rulebook.prices.lookup(vendor, model, now)
    count = exact_input_tokens(vendor, model, request.texts) if exact and deployment.exact_counts else None
    override = prices.max_image_tokens if isinstance(prices, ModelPrices) else None
    images = image_tokens(vendor, model, override=override)
    input_bound = input_token_bound(request.shape, images, overhead_of(vendor, model), exact_text_tokens=count)
    if isinstance(input_bound, Unbounded):
        return _refused(principal, RefusalCode.shape_exceeded, input_bound.reason)
    if shape.max_input_tokens is not None and input_bound > shape.max_input_tokens:
        if not exact:
            return _bounded(rulebook, candidate, now, exact=True)
        return _too_long(principal, input_bound, shape.max_input_tokens)
    if isinstance(prices, Unpriced):
        return _refused(principal, RefusalCode.unpriced, prices.reason)
    output_bound = output_token_bound(
        request.output_tokens_max, shape.max_output_tokens, prices, choices=request.choices
    )
    if isinstance(output_bound, Unpriced):
        return _refused(principal, RefusalCode.unpriced, output_bound.reason)
    if output_bound < 1:
        detail = f"the output tokens that are allowed do not make one for each of {request.choices} choices"
        return _refused(principal, RefusalCode.shape_exceeded, detail)
    bound = RequestBound(
        input_tokens_max=input_bound,
        output_tokens_max=output_bound,
        choices=request.choices,
        service_tier=sent_service_tier(request, deployment.clamp),
    )
    worst = ceiling(prices, bound)
    if isinstance(worst, Unbounded):
        return _refused(principal, RefusalCode.shape_exceeded, worst.reason)
    if isinstance(worst, Unpriced):
        return _refused(principal, RefusalCode.unpriced, worst.reason)
    return Admission(
        principal=principal,
        request=request,
        deployment=deployment,
        prices=prices,
        tags=candidate.tags,
        input_bound=input_bound,
        output_bound=output_bound,
        ceiling=worst,
        exact=exact,
    )


def _too_long(principal: Principal, input_bound: int, allowed: int) -> Refused:
    detail = f"the input may be {input_bound:,} tokens, the grant allows {allowed:,} per request"
    return _refused(principal, RefusalCode.shape_exceeded, detail)


def _without_deployment(rulebook: Rulebook, principal: Principal, request: ChatRequest, now: datetime) -> Refused:
    allowed = principal.leaf.grant.shape.max_input_tokens
    # Nothing is known of the model; its text alone may be too long all the same.
    input_bound = input_token_bound(request.shape, NO_IMAGES, OPENAI_OVERHEAD)
    assert isinstance(input_bound, int)
    if allowed is not None and input_bound > allowed:
        return _too_long(principal, input_bound, allowed)
    vendors = {one.vendor for one in rulebook.deployments}
    if all(isinstance(rulebook.prices.lookup(vendor, request.model, now), Unpriced) for vendor in vendors):
        return _refused(principal, RefusalCode.unpriced, f"`{request.model}` is not in the price book")
    return _refused(principal, RefusalCode.no_deployment, f"no deployment serves `{request.model}`")


def _surface_refused_by(principal: Principal) -> str | None:
    """Whose surfaces do not have it: the grant's, or else the capability's; None where both have."""
    surfaces = principal.leaf.grant.shape.surfaces
    if surfaces is not None and CHAT_SURFACE not in surfaces:
        return "grant's"
    return None if principal.verified.allows_surface(CHAT_SURFACE) else "capability's"


def _model_refused_by(principal: Principal, model: str) -> str | None:
    """The same of its models."""
    models = principal.leaf.grant.shape.models
    if models is not None and not any(model_matches(pattern, model) for pattern in models):
        return "grant's"
    return None if principal.verified.allows_model(model) else "capability's"


def _check_tags(principal: Principal, tags: CallerTags) -> ResolvedTags | Refused:
    grant = principal.leaf.grant
    # What the grant fixes wins over the capability's labels, which win over the caller's.
    fixed = {**principal.verified.labels, **grant.scope.labels()}
    resolved = resolve_tags(fixed, tags.values, grant.required_tags, tags.overridden)
    if resolved.missing:
        names = ", ".join(f"`{name}`" for name in resolved.missing)
        detail = f"`{grant.leaf.path}` requires the tags {names}; send them in `remit-tags` or in `metadata`"
        return replace(
            _refused(principal, RefusalCode.tags_missing, detail), extra={"missing_tags": list(resolved.missing)}
        )
    if principal.leaf.governed and (refused := _value_not_allowed(principal, tags)):
        return refused
    # Wherever it is said: a label may not book an experiment as production either, nor one tag hide another.
    for said in (resolved.tags, tags.values, tags.overridden):
        contradiction = class_contradiction(grant.grant_class, said)
        if contradiction is None:
            continue
        name, value = contradiction
        detail = f"tag `{name}={value}` contradicts the class {grant.grant_class} of `{grant.leaf.path}`"
        return replace(_refused(principal, RefusalCode.class_mismatch, detail), extra={"tag": name, "value": value})
    return resolved


def _value_not_allowed(principal: Principal, tags: CallerTags) -> Refused | None:
    """A value of a governed name that is not allowed, also one that another wins over: nothing a caller says is dropped.

    What the grant's own scope fixes was allowed when it was written; where it is no more, the grant goes on and is reported.
    """
    said = (tags.values, tags.overridden, tags.unusable, principal.verified.labels)
    found = first_not_allowed(principal.leaf.governed, said)
    if found is None:
        return None
    tag, value = found
    extra = {"tag": tag.name, "value": value[:128], "nearest": nearest(tag, value), "tag_owner": tag.owner}
    node = principal.leaf.grant.leaf
    detail = not_allowed_text(tag, value)
    return Refused(code=RefusalCode.tags_missing, detail=detail, path=node.path, owner=node.owner, extra=extra)


def _output_or_tools_problem(principal: Principal, request: ChatRequest) -> str | None:
    shape = principal.leaf.grant.shape
    if shape.tools is False and request.tool_names:
        return "the grant allows no tools"
    stated = request.output_tokens_max
    total = None if stated is None else stated * request.choices
    if total is not None and shape.max_output_tokens is not None and total > shape.max_output_tokens:
        return f"{total:,} output tokens are more than the {shape.max_output_tokens:,} the grant allows per request"
    if stated is not None and stated < 1:
        return "an output bound is at least 1 token"
    return None


def _refused(principal: Principal, code: RefusalCode, detail: str) -> Refused:
    node = principal.leaf.grant.leaf
    return Refused(code=code, detail=f"{detail}; ask `{node.owner}`", path=node.path, owner=node.owner)
