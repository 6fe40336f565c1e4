"""Values of governed tags at the door: what is not allowed is refused, wherever a caller says it, and never dropped."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from remit.gateway.decide import Admission, CallerTags, caller_tags, decide
from remit.gateway.principal import Principal
from remit.gateway.snapshot import TreeSnapshot
from remit.grants.model import Grant, Scope
from remit.grants.vocabulary import governing
from remit.grants.vocabulary_model import GovernedTag
from remit.kernel.decisions import RefusalCode, Refused
from remit.providers.openai import parse_chat_request
from remit.store.postgres_tree import StoredTree
from tests.gateway.test_decide import holder, rulebook
from tests.grants.builders import NOW, grant
from tests.providers.bodies import request

FEATURE = GovernedTag(
    name="feature",
    revision=2,
    owner="fin@acme.example",
    description="which product feature",
    values=frozenset({"search", "ads"}),
    retired=frozenset({"banner"}),
)


def told(principal: Principal, tags: CallerTags, *governed: GovernedTag) -> Admission | Refused:
    leaf = principal.leaf
    nodes = {node.id for node in leaf.grant.nodes}
    there = replace(principal, leaf=replace(leaf, governed=governing(governed, nodes)))
    return decide(rulebook(openai={}), there, parse_chat_request(request()), tags, NOW)


def refused(found: Admission | Refused) -> Mapping[str, Any]:
    assert isinstance(found, Refused) and found.code is RefusalCode.tags_missing and found.status == 400, found
    return found.extra


@pytest.fixture
def plain() -> Principal:
    return holder(grant(id="grant_g", path="acme"))


def test_an_allowed_value_passes_and_another_is_refused(plain: Principal) -> None:
    """The refusal names the tag, the nearest value and whom to ask; a name that nobody governs stays free."""
    ok = told(plain, CallerTags({"feature": "search", "anything": "goes"}), FEATURE)
    assert isinstance(ok, Admission) and ok.tags.tags == {"feature": "search", "anything": "goes"}
    found = told(plain, CallerTags({"feature": "serch"}), FEATURE)
    assert refused(found) == {"tag": "feature", "value": "serch", "nearest": "search", "tag_owner": "fin@acme.example"}
    assert isinstance(found, Refused) and found.owner == "ana@acme.example"
    assert found.detail == (
        "`serch` is no allowed value of the tag `feature`; did you mean `search`? `fin@acme.example` says which are"
    )


def test_a_retired_value_is_refused_as_such(plain: Principal) -> None:
    """Who sends what was allowed once is told so."""
    found = told(plain, CallerTags({"feature": "banner"}), FEATURE)
    assert refused(found)["value"] == "banner"
    assert isinstance(found, Refused) and "`banner` is a retired value of the tag `feature`" in found.detail


@pytest.mark.parametrize(
    ("header", "metadata"),
    [
        ({"feature": "no"}, {}),
        ({}, {"feature": "no"}),
        ({"feature": "search"}, {"feature": "no"}),
        ({}, {"feature": ""}),
        ({}, {"feature": "x" * 500}),
        ({"feature": "search"}, {"feature": "a\nb"}),
    ],
)
def test_wherever_it_is_said(plain: Principal, header: dict[str, str], metadata: dict[str, str]) -> None:
    """Also in metadata that the header wins over, or that could be no tag: nothing said of a governed name is dropped."""
    assert refused(told(plain, caller_tags(header, metadata), FEATURE))["tag"] == "feature"
    assert isinstance(told(plain, caller_tags(header, metadata)), Admission)


def test_what_the_grant_fixes_does_not_hide_what_is_said() -> None:
    """A caller's value is refused although the scope wins; the scope's own, allowed once, lets calls pass."""
    fixed = holder(grant(id="grant_g", path="acme", scope=Scope(feature="banner")))
    assert isinstance(told(fixed, CallerTags({}), FEATURE), Admission)
    assert refused(told(fixed, CallerTags({"feature": "no"}), FEATURE))["value"] == "no"


def test_labels_of_a_capability_are_somebodys_words_too() -> None:
    """Whoever narrows a capability offline chooses its labels, so they are held to the vocabulary."""
    leaf = grant(id="grant_g", path="acme")
    assert refused(told(holder(leaf, {"feature": "no"}), CallerTags({}), FEATURE))["value"] == "no"
    assert isinstance(told(holder(leaf, {"feature": "ads"}), CallerTags({}), FEATURE), Admission)


def test_where_nothing_is_governed_nothing_is_looked_up(plain: Principal) -> None:
    """A leaf keeps only what restricts its path: not a name that may have any value, nor one governed elsewhere."""
    root = grant(id="grant_root", path="acme")
    children = [
        Grant(**{**_fields(root), "id": f"grant_{name}", "path": f"acme/{name}", "parent_id": root.id}) for name in "ab"
    ]
    here = replace(FEATURE, grant_id="grant_a")
    any_value = replace(FEATURE, name="tenant", values=None)
    snapshot = TreeSnapshot(StoredTree(1, (root, *children), (), (), tags=(here, any_value)))
    governed = {one: snapshot.leaf(one) for one in ("grant_root", "grant_a", "grant_b")}
    assert {name: sorted(leaf.governed) for name, leaf in governed.items() if leaf} == {
        "grant_root": [],
        "grant_a": ["feature"],
        "grant_b": [],
    }


def _fields(one: Grant) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__slots__}
