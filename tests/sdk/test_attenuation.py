"""Narrowing a capability offline: what comes out verifies, never allows more, and mistakes are told by name."""

import pickle
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.capabilities.model import Delegate, Limit
from remit.capabilities.rules import public_key_of
from remit.cli.values import parse_limit as parse_limit_of_commands
from remit.sdk import Capability, CapabilityError, attenuate
from remit.sdk.terms import parse_limit
from tests.sdk.support import NOW, SECOND, capability, verified

SECRET = bytes(range(32))


def child(parent: Capability | None = None, **terms: Any) -> Capability:
    return attenuate(parent or capability(), now=NOW, **terms)


def test_a_child_verifies_and_owns_its_limits() -> None:
    """The new block's own limits stand behind its parent's, under an id of its own."""
    parent = capability()
    made = child(
        parent, usd="0.50", models=["gpt-5*", "gpt-4o"], surfaces=["chat.completions"], labels={"feature": "x"}
    )
    found = verified(made)
    assert [block.limits for block in found.blocks] == [
        (Limit("usd", 5_000_000_000, "once"),),
        (Limit("usd", 500_000_000, "once"),),
    ]
    assert found.block_ids == (parent.id, made.id)
    assert found.blocks[1].models == ("gpt-4o", "gpt-5*")
    assert found.labels == {"feature": "x"}
    assert found.not_after == SECOND + 600
    assert found.delegate == Delegate(max_depth=2, max_children=4, max_ttl_seconds=3600)


@pytest.mark.parametrize(
    ("terms", "limits"),
    [
        ({"usd": "0.000000001"}, [("usd", 1, "once")]),
        ({"usd": 5}, [("usd", 5, "once")]),
        ({"usd": "0"}, [("usd", 0, "once")]),
        ({"usd": "1", "tokens": 7, "requests": 3, "per": "day"}, [("requests", 3, "day"), ("tokens", 7, "day"), ("usd", 10**9, "day")]),
        ({"limits": ["0.50 usd per day", "25 usd", Limit("tokens", 9, "week")]}, [("tokens", 9, "week"), ("usd", 5 * 10**8, "day"), ("usd", 25 * 10**9, "once")]),
    ],
)  # fmt: skip
def test_limits_are_written_as_text_or_whole_numbers(terms: dict[str, Any], limits: list[tuple[str, int, str]]) -> None:
    """Dollars are decimal text or whole nano-dollars; the amounts arrive to the nano-dollar."""
    own = verified(child(**terms)).blocks[1].limits
    assert [(one.dimension, one.amount, one.period) for one in own] == limits


@pytest.mark.parametrize(
    "terms",
    [
        {"usd": 0.5},
        {"usd": True},
        {"usd": Decimal("0.5")},
        {"tokens": 1.0},
        {"requests": "3"},
        {"ttl": 1.5},
        {"models": "gpt-4o"},
        {"surfaces": [1]},
        {"limits": "1 usd"},
        {"labels": {"step": 1}},
        {"ttl": "1m", "expires_at": NOW},
        {"expires_at": datetime(2027, 1, 1)},  # noqa: DTZ001 - without a zone, on purpose
    ],
)
def test_mistakes_of_type_are_type_errors(terms: dict[str, Any]) -> None:
    """A float near an amount, a text where a list belongs and an instant without a zone are refused, never guessed at."""
    with pytest.raises(TypeError):
        child(**terms)


@pytest.mark.parametrize(
    "terms",
    [
        {"usd": "-1"},
        {"usd": "1e3"},
        {"usd": -1},
        {"usd": "1", "per": "year"},
        {"limits": ["1 eur once"]},
        {"limits": ["1 usd per once"]},
        {"limits": ["x tokens once"]},
        {"limits": ["1 usd", "2 usd"]},
        {"models": []},
        {"surfaces": ["A B"]},
        {"ttl": "10"},
        {"ttl": 0},
        {"expires_at": NOW},
        {"labels": {"Bad": "x"}},
        {"labels": {"a": "x\n"}},
        {"max_depth": 8},
        {"public_key": "AAAA"},
        {"labels": {f"k{n}": "x" * 128 for n in range(40)}},
    ],
)
def test_terms_out_of_range_are_told(terms: dict[str, Any]) -> None:
    """A term no gateway would accept fails here, as a capability's error with a code."""
    with pytest.raises(CapabilityError) as caught:
        child(**terms)
    assert caught.value.code == "terms_invalid"


def test_a_limit_that_is_given_twice_is_named() -> None:
    """Two amounts for one dimension and period are a mistake, and it is said which."""
    with pytest.raises(CapabilityError, match="two limits of usd once"):
        child(usd="1", limits=["5 requests", "2 usd"])


def test_time_to_live_is_cut_to_what_the_parent_allows() -> None:
    """The longest life of a child and the parent's own end both cut; with `strict` asking for more is an error."""
    assert child(ttl="7d").expires_at == NOW + timedelta(hours=1)
    ending = capability(not_after=SECOND + 90)
    assert child(ending, ttl=timedelta(hours=1)).expires_at == NOW + timedelta(seconds=90)
    assert child(expires_at=NOW + timedelta(minutes=3), strict=True).expires_at == NOW + timedelta(minutes=3)
    with pytest.raises(CapabilityError, match="ttl_too_long"):
        child(ending, ttl=91, strict=True)


def test_handing_on_ends_where_the_chain_says() -> None:
    """Each level has one less to go; a block that may not be handed on is told so at once, not by the gateway."""
    last = child(child(max_depth=1, max_children=2, max_ttl="1m"), ttl="1h")
    view = last.inspect()
    assert (view.delegate.max_depth, view.delegate.max_children, view.delegate.max_ttl_seconds) == (0, 2, 60)
    assert last.expires_at == NOW + timedelta(minutes=1)
    with pytest.raises(CapabilityError, match="may not be handed on"):
        child(last)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("rk_" + "0" * 12 + "_" + "A" * 43, "access_key"),
        ("rmt1.AAAA", "invalid"),
        ("sk-other", "invalid"),
        ("", "invalid"),
    ],
)
def test_what_cannot_be_narrowed_says_why(given: str, code: str) -> None:
    """An access key and broken texts have codes; the secret is in no message."""
    with pytest.raises(CapabilityError) as caught:
        attenuate(given, usd="1")
    assert caught.value.code == code
    assert not given or given not in str(caught.value)
    if code == "access_key":
        assert "remit key create GRANT --name NAME --token" in caught.value.reason
    assert pickle.loads(pickle.dumps(caught.value)).reason == caught.value.reason


def test_an_expired_capability_has_no_children() -> None:
    """What has ended cannot be narrowed any more."""
    with pytest.raises(CapabilityError) as caught:
        attenuate(capability(), now=NOW + timedelta(days=2))
    assert caught.value.code == "expired"


def test_a_label_may_be_said_again_but_not_changed() -> None:
    """The issuer's label stays; saying the same once more is no contradiction."""
    parent = capability(labels={"team": "search"})
    assert verified(child(parent, labels={"team": "search", "run": "7"})).labels == {"team": "search", "run": "7"}
    with pytest.raises(CapabilityError, match="label that is set already"):
        child(parent, labels={"team": "other"})


def test_a_child_can_be_handed_over_without_a_secret() -> None:
    """With a public key the text carries no secret, and only its other half narrows it further."""
    handed = child(public_key=public_key_of(SECRET))
    view = handed.inspect()
    assert (view.bearer, [one.kind for one in view.confirmations]) == (False, ["jkt"])
    with pytest.raises(CapabilityError) as caught:
        child(handed)
    assert caught.value.code == "proof_required"
    with pytest.raises(CapabilityError, match="does not belong"):
        child(handed, private_key=bytes(32))
    assert child(handed, private_key=SECRET).inspect().bearer


def test_the_view_is_the_intersection() -> None:
    """Tightest limits, common models and surfaces, the earliest end: what all blocks allow together."""
    parent = capability(models=("gpt-*", "o3"), surfaces=("chat.completions", "models"))
    made = child(parent, usd="9", models=["gpt-5*", "o*", "x"], surfaces=["models", "other"], ttl="5m")
    view = made.inspect()
    assert view.limits == (Limit("usd", 5_000_000_000, "once"),)
    assert view.models == ("gpt-5*", "o3")
    assert view.surfaces == ("models",)
    assert view.expires_at == datetime.fromtimestamp(SECOND + 300, UTC)
    assert [block.id for block in view.blocks] == [parent.id, made.id]
    assert child(parent, models=["none"]).inspect().models == ()


@given(
    parent=st.lists(st.sampled_from(["a", "ab", "a*", "ab*", "b", "*"]), min_size=1, unique=True),
    own=st.lists(st.sampled_from(["a", "abc", "a*", "abc*", "b*", "*"]), min_size=1, unique=True),
    model=st.sampled_from(["a", "ab", "abc", "abcd", "b", "bc", "c"]),
)
def test_the_view_agrees_with_the_gateway(parent: list[str], own: list[str], model: str) -> None:
    """A model is among the common models of the view exactly where the gateway's rule admits it."""
    made = child(capability(models=tuple(parent)), models=own)
    common = made.inspect().models
    assert common is not None
    shown = any(model.startswith(one[:-1]) if one.endswith("*") else one == model for one in common)
    assert shown == verified(made).allows_model(model)


def test_secrets_stay_out_of_sight() -> None:
    """Neither the capability nor an error shows the text."""
    made = child()
    assert made.token not in repr(made) and made.token not in str(made)


@pytest.mark.parametrize("text", ["0.50 usd per day", "200000 tokens per month", "25 usd once", "3 requests per week"])
def test_limits_are_written_as_on_the_command_line(text: str) -> None:
    """The same text is the same limit for programs and for commands."""
    ours, theirs = parse_limit(text), parse_limit_of_commands(text)
    assert (ours.dimension, ours.amount, ours.period) == (theirs.dimension, theirs.amount, theirs.period)
