"""`python -m bench.capabilities`: what reading, verifying and appending capabilities costs on this machine.

One process, no database. The texts are those of the tests that bound steps: hostile and honest ones of up to 4 KiB.
"""

import gc
import time
from collections.abc import Callable
from datetime import UTC, datetime

from bench.machine import describe
from remit.capabilities.issuer_keys import generate_issuer_key, issuer_key_of
from remit.capabilities.model import Block0, CapabilityProblem, Delegate, HolderBlock, IssuerKey, Limit, issuer_key_ring
from remit.capabilities.reading import inspect
from remit.capabilities.rules import append_block, mint_block0, public_key_of, verify
from remit.gateway.principal import Principal, authenticate
from remit.gateway.proving import Presented
from remit.gateway.snapshot import TreeSnapshot
from remit.kernel.ids import encode_ulid
from remit.store.postgres_tree import StoredTree
from tests.capabilities.hostile import honest_texts, hostile_texts
from tests.grants.builders import grant

ROUNDS = 3000
AUDIENCE = "remit"
NOW = 1_795_003_600
INSTANT = datetime.fromtimestamp(NOW, UTC)


Figures = tuple[float, float, float, float]


def measured(work: Callable[[], object], rounds: int = ROUNDS) -> Figures:
    """p50 and p99 of one call in microseconds, elapsed and of processor time; the collector is off meanwhile.

    Where others use the machine, the elapsed p99 is mostly the length of their turns.
    """
    for _ in range(rounds // 10):
        work()
    elapsed, used = [], []
    gc.disable()
    for _ in range(rounds):
        begin, begin_used = time.perf_counter_ns(), time.thread_time_ns()
        work()
        used.append(time.thread_time_ns() - begin_used)
        elapsed.append(time.perf_counter_ns() - begin)
    gc.enable()
    p50, p99 = rounds // 2, rounds * 99 // 100
    return tuple(sorted(each)[at] / 1000 for each in (elapsed, used) for at in (p50, p99))  # type: ignore[return-value]


def secret(number: int) -> bytes:
    """The other half of block number's key."""
    return bytes([number + 1]) * 32


def holder_block(number: int) -> HolderBlock:
    """A child with a limit and a model of its own."""
    limits = (Limit("usd", 10**9, "once"),)
    key = public_key_of(secret(number))
    return HolderBlock(not_after=NOW + 600, next_key=key, nonce=bytes(16), limits=limits, models=("gpt-*",))


def chains() -> tuple[IssuerKey, str, dict[int, str]]:
    """An issuer's key, the grant's id, and a token for each number of blocks."""
    issuer = generate_issuer_key()
    public = issuer_key_of(issuer)
    first = Block0(
        grant="grant_" + encode_ulid(0),
        tenant="acme",
        epoch=0,
        audience=AUDIENCE,
        issued_at=0,
        not_before=0,
        not_after=NOW + 3600,
        delegate=Delegate(7, 100, 3600),
        next_key=public_key_of(secret(0)),
        nonce=bytes(16),
    )
    tokens = {1: mint_block0(issuer, public, first, secret(0)).token}
    for number in range(2, 9):
        longer = append_block(tokens[number - 1], holder_block(number), secret(number))
        assert not isinstance(longer, CapabilityProblem), longer.reason
        tokens[number] = longer.token
    return public, first.grant, tokens


def main() -> None:
    """Prints one table row for each piece of work."""
    print(describe())
    print("| work | p50 | p99 | processor time p50 | p99 |\n|---|---|---|---|---|")

    def row(name: str, figures: Figures) -> None:
        print(f"| {name} | {' | '.join(f'{one:,.1f} us' for one in figures)} |", flush=True)

    for kind, texts in (("hostile", hostile_texts()), ("honest", honest_texts())):
        each = {name: measured(lambda text=text: inspect(text), 1000) for name, text in texts.items()}  # type: ignore[misc]
        slowest = max(each, key=lambda name: each[name][3])
        row(f"decode and parse, the slowest of {len(each)} {kind} texts ({slowest})", each[slowest])
    public, grant_id, tokens = chains()
    ring = issuer_key_ring([public])
    for count in (1, 3, 5, 8):
        assert not isinstance(verify(tokens[count], ring, AUDIENCE, INSTANT), CapabilityProblem)
        row(f"verify {count} blocks", measured(lambda count=count: verify(tokens[count], ring, AUDIENCE, INSTANT)))  # type: ignore[misc]
    leaf = grant(id=grant_id)
    snapshot = TreeSnapshot(StoredTree(revision=1, grants=(leaf,), keys=(), issuers=(public,)))
    for count in (1, 5):
        header = Presented(authorizations=(b"Bearer " + tokens[count].encode(),))
        assert isinstance(authenticate(snapshot, header, AUDIENCE, INSTANT), Principal)
        cached = measured(lambda header=header: authenticate(snapshot, header, AUDIENCE, INSTANT))  # type: ignore[misc]
        row(f"authenticate, {count} blocks that were verified before", cached)
    block = holder_block(9)
    row("append to 1 block", measured(lambda: append_block(tokens[1], block, secret(9))))
    row("append to 4 blocks", measured(lambda: append_block(tokens[4], block, secret(9))))


if __name__ == "__main__":
    main()
