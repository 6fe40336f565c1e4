"""A fault of our own in the middle of a call: the caller is told, and the hold ends at once."""

import asyncio
import json
import secrets
from dataclasses import replace
from typing import Any

import pytest

from remit.capabilities.issuer_keys import generate_issuer_key, issuer_key_of
from remit.capabilities.model import Block0, Delegate
from remit.capabilities.rules import mint_block0, public_key_of
from remit.gateway.breaking import Breaking
from remit.gateway.decide import Rulebook
from remit.gateway.gateway import Gateway
from remit.gateway.noting import Noting
from remit.gateway.proving import Presented
from remit.gateway.snapshot import TreeSnapshot
from remit.gateway.wire.exchange import Exchange
from remit.gateway.wire.head import parse_request_head
from remit.kernel.clock import SystemClock
from remit.leases.model import Ending, WantedHold
from remit.leases.ports import FinishedHold, TakenHold
from remit.settings import BreakerSettings, GatewaySettings
from remit.store.postgres_tree import StoredTree
from remit.testing.vendor_sim import VendorSim
from tests.gateway.test_decide import rulebook
from tests.grants.builders import grant
from tests.providers.bodies import request


class Ledger:
    """A lessor that admits everything and remembers how holds ended."""

    def __init__(self) -> None:
        self.taken: list[WantedHold] = []
        self.ended: list[Ending] = []

    async def take(self, hold: WantedHold, tree_revision: int) -> TakenHold:
        self.taken.append(hold)
        return TakenHold(None)

    async def finish(self, ending: Ending) -> FinishedHold:
        self.ended.append(ending)
        return FinishedHold(ending.outcome, None)


class Caller:
    """The connection of one request: what was written to it."""

    closes_after_this = False
    write_paused = False

    def __init__(self) -> None:
        self.received = b""

    def send(self, data: bytes) -> None:
        self.received += data

    def exchange_over(self) -> None:
        pass

    def cut(self, reset: bool) -> None:
        self.received += b"(cut)"


class NoPool:
    """A pool with a fault: it raises before anything is sent."""

    def send(self, *_: Any, **__: Any) -> Any:
        raise ZeroDivisionError


class NoPrices:
    """A price book that worked when the hold was taken and fails when the call is to be priced."""

    def __init__(self, book: Any) -> None:
        self._book = book
        self.broken = False

    def lookup(self, *arguments: Any) -> Any:
        if self.broken:
            raise ZeroDivisionError
        return self._book.lookup(*arguments)


def bearer(token: str) -> Presented:
    """What a request with this token and nothing else presents."""
    return Presented(authorizations=(b"Bearer " + token.encode(),))


def a_capability(issuer: Any) -> tuple[str, TreeSnapshot]:
    """A capability of a grant without limits, and the tree in which it counts."""
    secret = secrets.token_bytes(32)
    leaf = grant(id="grant_" + "0" * 26)
    block = Block0(
        grant=leaf.id,
        tenant="acme",
        epoch=0,
        audience="remit",
        issued_at=0,
        not_before=0,
        not_after=2**33,
        delegate=Delegate(0, 0, 0),
        next_key=public_key_of(secret),
        nonce=bytes(16),
    )
    public = issuer_key_of(issuer)
    stored = StoredTree(revision=1, grants=(leaf,), keys=(), issuers=(public,))
    return mint_block0(issuer, public, block, secret).token, TreeSnapshot(stored)


def gateway_over(book: Rulebook, ledger: Ledger, snapshot: TreeSnapshot, later: TreeSnapshot | None = None) -> Gateway:
    """A gateway that goes by this tree; `later` is the one it would read."""

    async def revision() -> int:
        return gateway.snapshot.revision

    async def reread() -> TreeSnapshot:
        return later or snapshot

    gateway = Gateway(
        settings=GatewaySettings(),
        renew_url=None,
        rulebook=book,
        lessor=ledger,
        clock=SystemClock(),
        snapshot=snapshot,
        reread=reread,
        revision=revision,
        noting=Noting(lambda _: None, lambda *_: None),
        breaking=Breaking(BreakerSettings(), lambda *_: None),
    )
    return gateway


def called(gateway: Gateway, token: str) -> Caller:
    """A caller with a small request that this gateway has begun to answer."""
    head = parse_request_head(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + token.encode() + b"\r\n\r\n",
        100, 8192, 2**20,
    )  # fmt: skip
    caller = Caller()
    gateway.handle(Exchange(caller, head, request(max_tokens=5), ""))
    return caller


async def answered(book: Rulebook, ledger: Ledger, before_pricing: Any = None) -> bytes:
    """What a caller of a gateway with this rulebook is answered."""
    token, snapshot = a_capability(generate_issuer_key())
    gateway = gateway_over(book, ledger, snapshot)
    caller = called(gateway, token)
    if before_pricing is not None:
        await before_pricing()
    await gateway.idle()
    return caller.received


@pytest.mark.parametrize("sent", [False, True])
def test_a_fault_of_ours_ends_the_hold_at_once(sent: bool) -> None:
    """Before anything was sent the hold is voided; afterwards it is in suspense at its ceiling. 500 says what was booked."""

    async def run() -> tuple[bytes, Ledger]:
        ledger = Ledger()
        async with VendorSim(seed=1) as vendor:
            vendor.script(latency_ms=50)
            whole = rulebook(openai={"base_url": vendor.url})
            prices = NoPrices(whole.prices)

            async def break_prices() -> None:
                while not vendor.inflight:  # noqa: ASYNC110 - it is the vendor that is watched
                    await asyncio.sleep(0.001)
                prices.broken = True

            if sent:
                received = await answered(Rulebook(prices, whole.deployments), ledger, break_prices)  # type: ignore[arg-type]
            else:
                without = tuple(replace(one, pool=NoPool()) for one in whole.deployments)  # type: ignore[arg-type]
                received = await answered(Rulebook(whole.prices, without), ledger)
            for deployment in whole.deployments:
                deployment.pool.close()
            return received, ledger

    received, ledger = asyncio.run(run())
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500 ") and json.loads(body)["error"]["code"] == "gateway_failed"
    (hold,), (ending,) = ledger.taken, ledger.ended
    assert (ending.hold_id, ending.outcome) == (hold.id, "suspense" if sent else "voided")
    cost = hold.ceiling_nanousd if sent else 0
    assert b"\r\nremit-cost-nanousd: %d\r\n" % cost in head + b"\r\n"
    assert b"x-should-retry: false" in head
