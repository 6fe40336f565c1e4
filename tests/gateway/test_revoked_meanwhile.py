"""What is revoked while a request is on its way through the gateway, and what a gateway remembers across trees."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from remit.capabilities.issuer_keys import generate_issuer_key, issuer_key_of
from remit.capabilities.model import Verified
from remit.capabilities.rules import verify
from remit.gateway import principal
from remit.gateway.gateway import Gateway
from remit.gateway.principal import Principal, authenticate
from remit.gateway.snapshot import TreeSnapshot
from remit.kernel.decisions import Refused
from remit.leases.model import WantedHold
from remit.leases.ports import TakenHold
from remit.store.postgres_tree import KnownRevocation, StoredTree
from remit.testing.vendor_sim import VendorSim
from tests.gateway.test_decide import rulebook
from tests.gateway.test_faults import Ledger, a_capability, bearer, called, gateway_over
from tests.grants.builders import grant

NOW = datetime.now(UTC)
GRANT = "grant_" + "0" * 26


def trees(*, issuer: Any = None, **later: Any) -> tuple[str, TreeSnapshot, TreeSnapshot]:
    """A capability, the tree in which it counts, and the next one, which differs as said (or revokes its block)."""
    issuer = issuer or generate_issuer_key()
    token, first = a_capability(issuer)
    verified = verify(token, first.issuers, "remit", NOW)
    assert isinstance(verified, Verified)
    revocations = (KnownRevocation("block", verified.block_ids[0], cut_streams=False),)
    stored = {"grants": (grant(id=GRANT),), "issuers": (issuer_key_of(issuer),), "revocations": revocations, **later}
    return token, first, TreeSnapshot(StoredTree(revision=2, keys=(), **stored), first)


class Late(Ledger):
    """A lessor during whose answer the tree changes."""

    def __init__(self, change: Callable[[], None]) -> None:
        super().__init__()
        self._change = change

    async def take(self, hold: WantedHold, tree_revision: int) -> TakenHold:
        answer = await super().take(hold, tree_revision)
        self._change()
        return answer


@pytest.mark.parametrize("what", ["block", "grant", "nothing of it"])
def test_what_was_revoked_after_its_hold_was_decided_is_not_sent(what: str) -> None:
    """The hold is voided, the refusal answered and the vendor asked nothing; another change of the tree stops no call."""
    later: dict[str, Any] = {
        "block": {},
        "grant": {"grants": (grant(id=GRANT).revoked(),), "revocations": ()},
        "nothing of it": {"revocations": ()},
    }[what]
    token, first, second = trees(**later)

    async def run() -> tuple[bytes, Late, int]:
        async with VendorSim(seed=1) as vendor:
            ledger = Late(lambda: gateway.install(second))
            book = rulebook(openai={"base_url": vendor.url})
            gateway = gateway_over(book, ledger, first, second)
            caller = called(gateway, token)
            await gateway.idle()
            for deployment in book.deployments:
                deployment.pool.close()
            return caller.received, ledger, len(vendor.books.rows)

    received, ledger, asked = asyncio.run(run())
    (ending,) = ledger.ended
    if what == "nothing of it":
        assert received.startswith(b"HTTP/1.1 200 ") and asked == 1 and ending.outcome == "settled"
        return
    assert json.loads(received.partition(b"\r\n\r\n")[2])["error"]["code"] == "capability_revoked"
    assert (ending.outcome, asked) == ("voided", 0)


def test_a_tree_that_is_older_than_the_known_one_is_not_installed() -> None:
    """Readings can overtake each other; what was revoked stays so."""
    token, first, second = trees()
    gateway = Gateway.__new__(Gateway)
    gateway.snapshot, gateway._running = second, {}
    gateway.install(first)
    assert gateway.snapshot is second
    assert isinstance(authenticate(gateway.snapshot, bearer(token), "remit", NOW), Refused)


def test_what_was_verified_is_remembered_as_long_as_issuer_keys_are_the_same() -> None:
    """The next tree lends no signature a second look, and yet refuses what it revokes; other issuer keys begin afresh."""
    issuer = generate_issuer_key()
    token, first, second = trees(issuer=issuer)
    assert isinstance(authenticate(first, bearer(token), "remit", NOW), Principal)
    assert second.verified is first.verified and len(second.verified) == 1
    assert isinstance(authenticate(second, bearer(token), "remit", NOW), Refused)
    others = (issuer_key_of(issuer), issuer_key_of(generate_issuer_key()))
    third = TreeSnapshot(StoredTree(revision=3, grants=(grant(id=GRANT),), keys=(), issuers=others), second)
    assert third.verified == {}


def test_the_oldest_is_forgotten_when_too_many_capabilities_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many come, the last ones are remembered and the memory stays bounded."""
    monkeypatch.setattr(principal, "_MAX_CACHED", 2)
    issuer = generate_issuer_key()
    token, first = a_capability(issuer)
    for number in range(3):
        first.verified[bytes([number])] = None  # type: ignore[assignment]
    assert isinstance(authenticate(first, bearer(token), "remit", NOW), Principal)
    assert len(first.verified) == 2 and next(iter(first.verified)) == b"\x02"


def test_an_issuer_key_that_was_revoked_ends_what_it_signed() -> None:
    """The signature is right and yet the capability is of no use: `capability_revoked`, not unknown."""
    issuer = generate_issuer_key()
    public = issuer_key_of(issuer)
    dead = type(public)(public.kid, public.public_key, revoked=True)
    token, _, second = trees(issuer=issuer, issuers=(dead,), revocations=())
    refused = authenticate(second, bearer(token), "remit", NOW)
    assert isinstance(refused, Refused) and refused.code.name == "capability_revoked"
