"""The view along a path: everything binds, nothing shadows, and the first dead node answers."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.grants.effective import effective
from remit.grants.model import OnExhausted, Overdraft, Rate, Scope, Shape
from remit.grants.serialise import InvalidBodyError, from_body, to_body
from remit.grants.shapes import both_patterns, pattern_within
from remit.kernel.decisions import RefusalCode
from remit.kernel.names import model_matches
from tests.grants.builders import NOW, YEAR_END, grant, tokens, usd
from tests.grants.repository_contract import full, plain

ROOT = grant(
    "acme",
    scope=Scope(team="search"),
    limits=(usd("100"), tokens(5, "day")),
    overdraft=Overdraft(max_nanousd=7),
    rate=Rate(rpm=10),
    shape=Shape(models=("gpt-4o*", "o3"), vendors=("openai", "azure"), max_output_tokens=100, tools=False),
    data_classes=("public", "internal"),
    required_tags=("team",),
)
MIDDLE = grant("acme/folder", ROOT, owner="bo@acme.example")
LEAF = grant(
    "acme/folder/svc",
    MIDDLE,
    owner="cy@acme.example",
    grant_class="experimentation",
    time_zone="Asia/Tokyo",
    scope=Scope(feature="x", team="search"),
    limits=(usd("50", "day"),),
    shape=Shape(models=("gpt-4o-mini*", "claude*"), max_input_tokens=9, max_output_tokens=500, tools=True),
    data_classes=("internal", "pii"),
    required_tags=("feature", "team"),
    on_exhausted=OnExhausted(pace_from_percent=60),
    starts_at=NOW - timedelta(days=1),
    expires_at=YEAR_END - timedelta(days=1),
)
PATH = (ROOT, MIDDLE, LEAF)


def test_a_path_is_the_intersection_of_its_nodes() -> None:
    """Shape, data classes and life are what all nodes allow, even if a stored child were wider than its parent."""
    view = effective(PATH)
    assert view.scope.labels() == {"team": "search", "feature": "x"}
    assert view.shape == Shape(
        models=("gpt-4o-mini*",),
        vendors=("openai", "azure"),
        max_input_tokens=9,
        max_output_tokens=100,
        tools=False,
    )
    assert view.data_classes == ("internal",)
    assert view.required_tags == ("team", "feature")
    assert (view.starts_at, view.expires_at) == (LEAF.starts_at, LEAF.expires_at)
    assert view.grant_class == "experimentation"


def test_every_node_and_every_rate_is_listed() -> None:
    """Nodes come with limits of their own and rates with their node; a silent node adds none and hides none."""
    view = effective(PATH)
    assert view.nodes == PATH
    assert [(one.path, one.rate.rpm) for one in view.rates] == [("acme", 10)]


@pytest.mark.parametrize(
    ("index", "fields", "code"),
    [
        (0, {"status": "suspended"}, RefusalCode.grant_inactive),
        (1, {"status": "revoked"}, RefusalCode.grant_inactive),
        (2, {"status": "requested"}, RefusalCode.grant_inactive),
        (1, {"starts_at": NOW + timedelta(microseconds=1)}, RefusalCode.grant_inactive),
        (1, {"status": "expired"}, RefusalCode.grant_expired),
        (0, {"expires_at": NOW}, RefusalCode.grant_expired),
        (0, {"expires_at": NOW + timedelta(microseconds=1)}, None),
        (1, {"starts_at": NOW}, None),
    ],
)
def test_a_dead_node_is_named_with_its_owner(index: int, fields: dict[str, object], code: RefusalCode | None) -> None:
    """One dead node anywhere on the path refuses, at the very instant, naming the node and whom to ask."""
    nodes = list(PATH)
    nodes[index] = grant(nodes[index].path, nodes[index - 1] if index else None, owner=nodes[index].owner, **fields)
    refused = effective(nodes).refusal_at(NOW)
    if code is None:
        assert refused is None
    else:
        assert refused is not None and refused.code is code
        assert refused.binding_node == nodes[index].path and refused.owner == nodes[index].owner
        helper = nodes[index - 1] if fields.get("status") == "requested" else nodes[index]
        assert f"`{helper.owner}`" in refused.detail
        assert refused.path == "acme/folder/svc" and f"`{nodes[index].path}`" in refused.detail


def test_inactive_is_answered_before_expired() -> None:
    """A suspended leaf below an expired root is inactive first: the order of the refusal codes."""
    nodes = (
        grant("acme", expires_at=NOW),
        grant("acme/a", grant("acme"), status="suspended", owner="bo@acme.example"),
    )
    refused = effective(nodes).refusal_at(NOW)
    assert refused is not None
    assert (refused.code, refused.owner) == (RefusalCode.grant_inactive, "bo@acme.example")


PATTERNS = st.from_regex(r"[ab]{0,3}\*?", fullmatch=True).filter(bool)
MODELS = st.from_regex(r"[ab]{1,5}", fullmatch=True)


@given(st.lists(PATTERNS, max_size=4), st.lists(PATTERNS, max_size=4), MODELS)
def test_the_intersection_of_patterns_is_exact(left: list[str], right: list[str], model: str) -> None:
    """A model is allowed by the intersection exactly if both sides allow it."""
    both = both_patterns(tuple(left), tuple(right))
    assert both is not None
    in_left, in_right, in_both = (any(model_matches(one, model) for one in side) for side in (left, right, both))
    assert in_both == (in_left and in_right)


@given(PATTERNS, PATTERNS, MODELS)
def test_a_pattern_within_another_allows_no_more(inner: str, outer: str, model: str) -> None:
    """Whatever a contained pattern matches, the outer one matches."""
    if pattern_within(inner, outer) and model_matches(inner, model):
        assert model_matches(outer, model)


def test_bodies_round_trip() -> None:
    """A grant survives its body, which is plain JSON."""
    root = plain()
    for one in (root, full("acme/x", root), *PATH):
        body = to_body(one)
        assert from_body(body) == one
        assert isinstance(body["expires_at"], str) and body["expires_at"].endswith("Z")


def test_a_body_of_something_else_is_not_a_grant() -> None:
    """Missing, unknown and unreadable fields raise the one documented error."""
    body = to_body(plain())
    unknown = {**body, "color": "red"}
    missing = {name: value for name, value in body.items() if name != "owner"}
    for wrong in ({}, unknown, missing, {**body, "expires_at": "2027-01-01T00:00:00"}, {**body, "limits": 5}):
        with pytest.raises(InvalidBodyError):
            from_body(wrong)
    assert from_body({**body, "starts_at": "2026-06-01T14:00:00.123456+02:00"}).starts_at == datetime(
        2026, 6, 1, 12, 0, 0, 123456, tzinfo=UTC
    )
