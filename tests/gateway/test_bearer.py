"""What bearer capabilities may be worth, and how long they may live: the policy as a table."""

from dataclasses import replace
from typing import Any

import pytest

from remit.capabilities.model import Confirmation, Delegate, Limit, Verified, VerifiedBlock
from remit.gateway.bearer import BearerPolicy, forbidden
from remit.gateway.snapshot import Leaf
from remit.grants.effective import effective
from remit.grants.model import Grant, Overdraft
from remit.grants.model import Limit as GrantLimit
from remit.kernel.money import parse_usd
from remit.leases.terms import terms_of_grant
from tests.grants.builders import grant

HOUR = 3600


def usd(text: str, period: Any = "month") -> Limit:
    return Limit("usd", parse_usd(text), period)


def chain(*limits: tuple[Limit, ...], **more: Any) -> Verified:
    """A capability with one block for each tuple of limits, alive for an hour."""
    blocks = tuple(
        VerifiedBlock(f"{number}" * 64, one, None, None, HOUR, Delegate(0, 0, 0)) for number, one in enumerate(limits)
    )
    whole = {"issued_at": 0, "not_before": 0, "not_after": HOUR, **more}
    return Verified(
        kid="k",
        grant="g",
        tenant="acme",
        epoch=0,
        audience="remit",
        delegate=Delegate(0, 0, 0),
        labels={},
        blocks=blocks,
        **whole,
    )


def leaf(*path: Grant) -> Leaf:
    nodes = list(path) or [grant(limits=())]
    return Leaf(effective(nodes), tuple(terms_of_grant(node) for node in nodes))


def money(text: str, **more: Any) -> Grant:
    return grant(limits=(GrantLimit("usd", parse_usd(text), "month"),), **more)


@pytest.mark.parametrize(
    ("blocks", "path", "allowed"),
    [
        ([()], (), False),
        ([(Limit("tokens", 5, "day"),)], (), False),
        ([(usd("10"),)], (), True),
        ([(usd("10.000000001"),)], (), False),
        ([(usd("10", "once"),)], (), True),
        ([(usd("500"),), (usd("5"),)], (), True),
        ([(usd("5"),), (usd("500"),)], (), True),
        ([(usd("500", "quarter"), usd("9", "day"))], (), True),
        ([(usd("500"),), ()], (), False),
        ([()], (money("10"),), True),
        ([()], (money("11"),), False),
        ([()], (money("9", overdraft=Overdraft(max_nanousd=parse_usd("1"))),), True),
        ([()], (money("9", overdraft=Overdraft(max_nanousd=parse_usd("1.01"))),), False),
        ([(usd("10"),)], (money("500"),), True),
    ],
)
def test_the_least_limit_in_money_is_what_a_bearer_is_worth(
    blocks: list[tuple[Limit, ...]], path: tuple[Grant, ...], allowed: bool
) -> None:
    """Under a policy of $10 the least limit of all blocks and grants, with its overdraft, decides; none is too much."""
    found = forbidden(BearerPolicy(max_nanousd=parse_usd("10")), chain(*blocks), leaf(*path))
    assert (found is None) is allowed
    assert found is None or (found.policy_id == "gateway.bearer.max_usd" and "$10.00 at most" in found.detail)


@pytest.mark.parametrize(
    ("life", "allowed"),
    [
        ({}, True),
        ({"not_after": HOUR + 60}, True),
        ({"not_after": HOUR + 61}, False),
        ({"issued_at": 60, "not_after": HOUR + 120}, True),
        ({"not_before": 60, "not_after": HOUR + 120}, True),
        ({"not_before": -10_000}, True),
        ({"issued_at": -10_000}, True),
        ({"issued_at": -10_000, "not_before": -10_000}, False),
    ],
)
def test_the_time_in_which_it_can_be_used_is_how_long_a_bearer_lives(life: dict[str, int], allowed: bool) -> None:
    """Under a policy of one hour the later of issue and start to the end is the life, a minute of leeway included."""
    found = forbidden(BearerPolicy(max_ttl_seconds=HOUR), chain((), **life), leaf())
    assert (found is None) is allowed
    assert found is None or (found.policy_id == "gateway.bearer.max_ttl" and "3,600 seconds" in found.detail)


def test_what_has_to_be_proven_is_no_bearers() -> None:
    """A capability that demands a proof is bound by neither rule, and without rules nothing is."""
    strict = BearerPolicy(max_nanousd=0, max_ttl_seconds=1)
    unlimited = chain(())
    assert forbidden(strict, unlimited, leaf()) is not None
    assert forbidden(strict, replace(unlimited, confirmations=(Confirmation("jkt", "k"),)), leaf()) is None
    assert forbidden(BearerPolicy(), unlimited, leaf()) is None


def test_the_amount_is_told_before_the_life() -> None:
    """Of two rules that are broken the first is the answer."""
    found = forbidden(BearerPolicy(max_nanousd=0, max_ttl_seconds=1), chain(()), leaf())
    assert found is not None and found.policy_id == "gateway.bearer.max_usd"
