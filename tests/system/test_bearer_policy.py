"""The policy over bearer capabilities at a running gateway."""

from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remit.capabilities.model import Appended, Delegate, HolderBlock, Limit
from remit.capabilities.rules import append_block, public_key_of
from remit.kernel.money import parse_usd
from tests.system.capabilities import bearer
from tests.system.harness import System, root
from tests.system.test_proofs import Holder, ed25519_holder

SECRETS = [bytes([number]) * 32 for number in (21, 22)]


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """Bearer capabilities may be worth $5 and live an hour."""
    policy = '\n[gateway.bearer]\nmax_usd = "5"\nmax_ttl = "1h"\n'
    with System(settings=policy) as running:
        running.apply({"acme": root("100.00")})
        yield running


def send(system: System, token: str) -> httpx.Response:
    return Holder(system, token, Ed25519PrivateKey.generate()).send(scheme="Bearer")


def forbidden_by(answer: httpx.Response) -> str:
    assert answer.status_code == 403, answer.text
    remit = answer.json()["error"]["remit"]
    assert remit["code"] == "policy_forbidden"
    (policy_id,) = remit["policy_ids"]
    return str(policy_id)


def test_a_key_without_bounds_is_forbidden_and_a_small_one_serves(system: System) -> None:
    """An access key on $100 for three years is refused for its amount, one on $5 for its life, and one for an hour serves."""
    small = (Limit("usd", parse_usd("5"), "month"),)
    soon = system.authority.clock.now() + timedelta(minutes=59)
    assert forbidden_by(send(system, system.key("acme"))) == "gateway.bearer.max_usd"
    assert forbidden_by(send(system, system.key("acme", limits=small))) == "gateway.bearer.max_ttl"
    assert send(system, system.key("acme", limits=small, expires_at=soon)).status_code == 200


def test_what_may_not_be_used_lists_no_models(system: System) -> None:
    """A key that the policy forbids is told so by the free list of models as well; one that is allowed is answered."""
    soon = system.authority.clock.now() + timedelta(minutes=59)
    small = (Limit("usd", parse_usd("5"), "month"),)
    answers = [
        httpx.get(f"http://127.0.0.1:{system.port}/v1/models", headers={"authorization": f"Bearer {key}"})
        for key in (system.key("acme"), system.key("acme", limits=small, expires_at=soon))
    ]
    assert forbidden_by(answers[0]) == "gateway.bearer.max_usd"
    assert answers[1].status_code == 200 and answers[1].json()["object"] == "list"


def test_a_capability_that_is_proven_is_bound_by_no_policy_of_bearers(system: System) -> None:
    """A capability on $100 for a day, bound to a key, is served with its proof."""
    holder = ed25519_holder(system, life_seconds=86_400)
    assert holder.send(holder.proof()).status_code == 200


def test_a_holder_meets_the_policy_by_narrowing(system: System) -> None:
    """A week's capability on $100, issued two days ago, can be used once a limit and a short delegation were appended.

    An early end alone does not show that a block is young; below a delegation that allows no longer life it does.
    """
    second = int(system.authority.clock.now().timestamp())
    issued = {"issued_at": second - 2 * 86_400, "not_before": second - 2 * 86_400}
    week = bearer(system, "acme", life_seconds=5 * 86_400, delegate=Delegate(7, 64, 7 * 86_400), **issued)
    assert forbidden_by(send(system, week)) == "gateway.bearer.max_usd"
    limit = (Limit("usd", parse_usd("1"), "day"),)
    early = narrowed(week, second + 300, SECRETS[0], limits=limit)
    assert forbidden_by(send(system, early)) == "gateway.bearer.max_ttl"
    short = narrowed(week, second + 3000, SECRETS[0], limits=limit, delegate=Delegate(1, 1, 600))
    assert forbidden_by(send(system, short)) == "gateway.bearer.max_ttl"
    assert send(system, narrowed(short, second + 300, SECRETS[1])).status_code == 200
    assert send(system, narrowed(short, second + 2000, SECRETS[1])).status_code == 401  # its ten minutes have not begun


def narrowed(token: str, not_after: int, secret: bytes, **more: object) -> str:
    """The chain with a holder's block, as a bearer's again."""
    block = HolderBlock(not_after=not_after, next_key=public_key_of(secret), nonce=bytes(16), **more)  # type: ignore[arg-type]
    made = append_block(token, block, secret)
    assert isinstance(made, Appended), made
    return made.token
