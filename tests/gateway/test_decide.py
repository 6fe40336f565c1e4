"""The decision before the hold: which rule answers first, and which deployment serves."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from remit.capabilities.model import Delegate, Verified, VerifiedBlock
from remit.gateway.bearer import BearerPolicy
from remit.gateway.decide import Admission, CallerTags, Rulebook, caller_tags, decide, with_exact_count
from remit.gateway.deployments import open_deployments
from remit.gateway.principal import Principal
from remit.gateway.snapshot import Leaf
from remit.grants.effective import effective
from remit.grants.model import Grant, Scope, Shape
from remit.kernel.decisions import RefusalCode, Refused
from remit.leases.terms import terms_of_grant
from remit.pricing.book import LayeredPriceBook
from remit.pricing.genai import GenaiCatalogue
from remit.providers.openai import parse_chat_request
from remit.settings import load_settings
from tests.grants.builders import NOW, grant
from tests.providers.bodies import request

BOOK = LayeredPriceBook((), GenaiCatalogue())


def rulebook(**vendors: Any) -> Rulebook:
    """Deployments by name; their settings but for the address."""
    table = {name: {"base_url": "http://127.0.0.1:9", **more} for name, more in vendors.items()}
    settings = load_settings(overrides={"vendors": table}, environment={})
    return Rulebook(BOOK, open_deployments(settings, {}))


def holder(leaf: Grant, labels: dict[str, str] | None = None, **block: Any) -> Principal:
    """Who holds a capability of this root grant."""
    restrictions: dict[str, Any] = {"limits": (), "models": None, "surfaces": None, "not_after": 2**40, **block}
    restrictions.setdefault("delegate", Delegate(0, 0, 0))
    verified = Verified(
        kid="k",
        grant=leaf.id,
        tenant=leaf.path,
        epoch=0,
        audience="remit",
        issued_at=0,
        not_before=0,
        not_after=2**40,
        delegate=Delegate(0, 0, 0),
        labels=labels or {},
        blocks=(VerifiedBlock("b" * 64, **restrictions),),
    )
    return Principal(verified, Leaf(effective([leaf]), (terms_of_grant(leaf),)))


def answer(
    principal: Principal,
    body: bytes,
    tags: dict[str, str] | None = None,
    book: Rulebook | None = None,
    now: datetime = NOW,
) -> Admission | Refused:
    return decide(book or rulebook(openai={}), principal, parse_chat_request(body), CallerTags(tags or {}), now)


def code(found: Admission | Refused) -> RefusalCode | None:
    return found.code if isinstance(found, Refused) else None


# Each breaks one rule; together with any that come later in this list it is still answered by its own code.
FAULTS: dict[str, dict[str, Any]] = {
    "grant_inactive": {"grant": {"status": "suspended"}},
    "grant_expired": {"grant": {"expires_at": NOW}},
    "surface_not_allowed": {"shape": {"surfaces": ("embeddings",)}},
    "model_not_allowed": {"shape": {"models": ("o3",)}},
    "tags_missing": {"grant": {"required_tags": ("feature",)}},
    "class_mismatch": {"tags": {"environment": "sandbox"}},
    "policy_forbidden": {"bearer": BearerPolicy(max_ttl_seconds=1)},
    "shape_exceeded": {"shape": {"max_input_tokens": 1}},
    "unbounded field": {"body": {"web_search_options": {}}, "code": "shape_exceeded"},
    "unpriced": {"body": {"model": "nobody-knows-it"}},
}


@pytest.mark.parametrize("first", range(len(FAULTS)))
@pytest.mark.parametrize("second", range(len(FAULTS)))
def test_the_first_rule_broken_answers(first: int, second: int) -> None:
    """Of two rules that a request breaks, the one that is documented to come first is the answer."""
    names = list(FAULTS)
    faults = [FAULTS[names[index]] for index in {first, second}]
    fields: dict[str, Any] = {}
    shape: dict[str, Any] = {}
    body: dict[str, Any] = {"model": "gpt-4o"}
    tags: dict[str, str] = {}
    for fault in faults:
        fields |= fault.get("grant", {})
        shape |= fault.get("shape", {})
        body |= fault.get("body", {})
        tags |= fault.get("tags", {})
    principal = holder(grant(shape=Shape(**shape), **fields))
    first_name = names[min(first, second)]
    expected = RefusalCode[FAULTS[first_name].get("code", first_name)]
    bearer = next((fault["bearer"] for fault in faults if "bearer" in fault), BearerPolicy())
    book = replace(rulebook(openai={}), bearer=bearer)
    assert code(answer(principal, request(**body), tags, book)) is expected


def test_nothing_broken_is_admitted() -> None:
    """The same request without a fault is admitted with a ceiling above zero."""
    found = answer(holder(grant()), request(model="gpt-4o"))
    assert isinstance(found, Admission) and found.ceiling.nanousd > 0


@pytest.mark.parametrize(
    ("labels", "scope", "tags"),
    [
        ({"environment": "production"}, {}, {}),
        ({}, {"environment": "prod"}, {}),
        ({}, {}, {"environment": "live"}),
        ({"environment": "dev"}, {}, {"environment": "production"}),
        ({"class": "production"}, {}, {}),
    ],
)
def test_no_tag_books_an_experiment_as_production(
    labels: dict[str, str], scope: dict[str, str], tags: dict[str, str]
) -> None:
    """Whoever says that an experiment is production, the caller, the key or the grant's own scope, it is refused."""
    experiment = grant(grant_class="experimentation", scope=Scope(**scope))
    found = answer(holder(experiment, labels), request(model="gpt-4o"), tags)
    assert code(found) is RefusalCode.class_mismatch


def test_neither_way_of_tagging_hides_the_other() -> None:
    """A header that contradicts the metadata wins as a tag; what it overrode is recorded, and still says its class."""
    tags = caller_tags({"feature": "a", "environment": "lab"}, {"feature": "b", "environment": "production"})
    found = decide(rulebook(openai={}), holder(grant()), parse_chat_request(request(model="gpt-4o")), tags, NOW)
    assert isinstance(found, Admission)
    assert (found.tags.tags["feature"], found.tags.conflicts["feature"]) == ("a", "b")
    experiment = holder(grant(grant_class="experimentation"))
    found = decide(rulebook(openai={}), experiment, parse_chat_request(request(model="gpt-4o")), tags, NOW)
    assert code(found) is RefusalCode.class_mismatch


def test_required_tags_may_stand_in_metadata_of_an_unbounded_request() -> None:
    """A request whose shape is at fault is asked for no tag that it has."""
    tagged = holder(grant(required_tags=("feature",)))
    parsed = parse_chat_request(request(model="gpt-4o", web_search_options={}, metadata={"feature": "a"}))
    found = decide(rulebook(openai={}), tagged, parsed, caller_tags({}, parsed.metadata), NOW)
    assert code(found) is RefusalCode.shape_exceeded


@pytest.mark.parametrize(
    ("settings", "exact"),
    [({}, False), ({"base_url": "https://api.openai.com"}, True), ({"exact_counts": True}, True)],
)
def test_only_who_counts_alike_is_counted_exactly(settings: dict[str, Any], exact: bool) -> None:
    """The published tokenizer bounds what OpenAI bills; of anybody else that has to be said."""
    found = answer(holder(grant()), request(model="gpt-4o"), book=rulebook(openai=settings))
    assert isinstance(found, Admission) and found.deployment.exact_counts is exact
    better = with_exact_count(rulebook(openai=settings), found, NOW)
    assert (better is not None) == exact


def test_the_first_deployment_with_a_price_serves() -> None:
    """A model that only a later deployment has a price for goes there."""
    book = rulebook(openai={}, groq={})
    found = answer(holder(grant()), request(model="llama-3.1-8b-instant", max_tokens=9), book=book)
    assert isinstance(found, Admission) and found.deployment.name == "groq"
    unknown = answer(holder(grant()), request(model="nobody-knows-it"), book=book)
    assert code(unknown) is RefusalCode.unpriced


@pytest.mark.parametrize(
    ("vendor", "settings", "field"),
    [
        ("openai", {}, "max_completion_tokens"),
        ("deepseek", {}, "max_tokens"),
        ("openai", {"output_bound_field": "max_tokens"}, "max_tokens"),
        ("house", {"vendor": "azure"}, "max_completion_tokens"),
    ],
)
def test_the_bound_goes_out_in_the_vendors_own_field(vendor: str, settings: dict[str, Any], field: str) -> None:
    """Each vendor gets the output bound in the field it documents, unless the settings say another."""
    (deployment,) = rulebook(**{vendor: settings}).deployments
    assert deployment.clamp.output_field == field


@pytest.mark.parametrize(
    ("allowed", "body", "bound"),
    [
        (9, {"n": 2}, 4),
        (9, {"n": 2, "max_tokens": 4}, 4),
        (9, {"n": 2, "max_tokens": 5}, None),
        (9, {"n": 10}, None),
        (0, {}, None),
        (1, {}, 1),
    ],
)
def test_the_output_of_a_shape_is_for_all_choices_together(
    allowed: int, body: dict[str, Any], bound: int | None
) -> None:
    """`max_output_tokens` of a shape is per request: choices share it, and too little for one token each is refused."""
    found = answer(holder(grant(shape=Shape(max_output_tokens=allowed))), request(model="gpt-4o", **body))
    if bound is None:
        assert code(found) is RefusalCode.shape_exceeded
    else:
        assert isinstance(found, Admission) and found.output_bound == bound


@pytest.mark.parametrize("tier", ["batch", "flex"])
def test_a_cheaper_tier_is_not_taken_at_its_word(tier: str) -> None:
    """A tier that is only for batches is unpriced; a cheaper one is held at the dearer default."""
    now = datetime(2026, 11, 24, tzinfo=UTC)  # from when on the catalogue has tiers of this model
    found = answer(holder(grant()), request(model="gpt-5.4", service_tier=tier), now=now)
    plain = answer(holder(grant()), request(model="gpt-5.4"), now=now)
    assert isinstance(plain, Admission)
    if tier == "batch":
        assert code(found) is RefusalCode.unpriced
    else:
        assert isinstance(found, Admission) and found.ceiling.nanousd >= plain.ceiling.nanousd


def test_a_capability_narrows_its_grant() -> None:
    """Models of a block bind besides those of the grant."""
    narrow = holder(grant(), models=("o3",))
    assert code(answer(narrow, request(model="gpt-4o"))) is RefusalCode.model_not_allowed
    both = replace(grant(), shape=Shape(models=("gpt-4o",)))
    assert code(answer(holder(both, models=("o3",)), request(model="o3"))) is RefusalCode.model_not_allowed
