"""How far a revocation reaches: pure, on one tree and the chain of three blocks that a call was admitted with."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from remit.capabilities.issuer_keys import generate_issuer_key, issuer_key_of
from remit.capabilities.model import Appended, Block0, Delegate, HolderBlock, Verified
from remit.capabilities.rules import append_block, mint_block0, public_key_of, verify
from remit.gateway.principal import Principal, authenticate, still_refused
from remit.gateway.snapshot import TreeSnapshot
from remit.kernel.decisions import Refused
from remit.store.postgres_tree import KnownKey, KnownRevocation, StoredTree
from tests.gateway.test_faults import bearer
from tests.grants.builders import grant

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECOND = int(NOW.timestamp())
ISSUER = generate_issuer_key()
PUBLIC = issuer_key_of(ISSUER)
TOP = grant("acme", id="grant_" + "0" * 26, expires_at=datetime(2030, 1, 1, tzinfo=UTC))
TEAM = replace(TOP, id="grant_" + "1" * 26, path="acme/team", parent_id="grant_" + "0" * 26)
PERSON = replace(TOP, id="grant_" + "2" * 26, path="acme/team/bo", parent_id="grant_" + "1" * 26)
OTHER = replace(TOP, id="grant_" + "3" * 26, path="acme/other", parent_id="grant_" + "0" * 26)
SECRETS = [os.urandom(32) for _ in range(3)]
MINTED = mint_block0(
    ISSUER,
    PUBLIC,
    Block0(
        grant=PERSON.id,
        tenant="acme",
        epoch=0,
        audience="remit",
        issued_at=SECOND,
        not_before=SECOND,
        not_after=SECOND + 7200,
        delegate=Delegate(7, 64, 7200),
        next_key=public_key_of(SECRETS[0]),
        nonce=bytes(16),
    ),
    SECRETS[0],
)


def longer(token: str, secret: bytes, seconds: int) -> str:
    """The chain with a block of that life."""
    block = HolderBlock(not_after=SECOND + seconds, next_key=public_key_of(secret), nonce=os.urandom(16))
    made = append_block(token, block, secret)
    assert isinstance(made, Appended), made
    return made.token


MIDDLE = longer(MINTED.token, SECRETS[1], 3600)
TOKEN = longer(MIDDLE, SECRETS[2], 1800)
KEYS = tuple(KnownKey(name, PERSON.id, name.encode() * 4, MINTED.stored, None) for name in ("key_old1", "key_new1"))


def tree(*revocations: KnownRevocation, **changed: object) -> TreeSnapshot:
    """The tree with what was revoked in it."""
    stored = StoredTree(2, (TOP, TEAM, PERSON, OTHER), KEYS, (PUBLIC,), revocations)
    return TreeSnapshot(replace(stored, **changed))  # type: ignore[arg-type]


def admitted(token: str = TOKEN) -> Verified:
    found = verify(token, {PUBLIC.kid: PUBLIC}, "remit", NOW)
    assert isinstance(found, Verified), found
    return found


def refused(snapshot: TreeSnapshot, verified: Verified, key_id: str | None = None) -> str | None:
    """The code with which an admitted call is not sent after all."""
    leaf = tree().leaf(PERSON.id)
    assert leaf is not None
    why = still_refused(snapshot, Principal(verified, leaf, key_id), NOW)
    return None if why is None else why.code.name


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("number", range(3))
def test_each_block_of_a_chain_ends_what_follows_it_and_nothing_before(number: int, cut: bool) -> None:
    """Revoking a block ends it and its descendants; its ancestors and siblings go on, and calls end where that is asked for."""
    ids = admitted().block_ids
    snapshot = tree(KnownRevocation("block", ids[number], cut))
    sibling = admitted(longer(MIDDLE, os.urandom(32), 1800))
    chains = [admitted(MINTED.token), admitted(MIDDLE), admitted(), sibling]
    ended = [ids[number] in one.block_ids for one in chains]
    assert [refused(snapshot, one) == "capability_revoked" for one in chains] == ended
    assert [snapshot.cuts(one, None) for one in chains] == [cut and end for end in ended]


@pytest.mark.parametrize(("subject", "reached"), [(TOP, True), (TEAM, True), (PERSON, True), (OTHER, False)])
def test_a_call_is_cut_for_every_grant_above_it(subject: object, reached: bool) -> None:
    """A grant that is revoked at once takes the calls of all below it along, and those of no other."""
    assert isinstance(subject, type(TOP))
    snapshot = tree(KnownRevocation("grant", subject.id, True))
    assert snapshot.cuts(admitted(), None) == reached


@pytest.mark.parametrize("status", ["suspended", "revoked"])
@pytest.mark.parametrize("subject", [TOP, TEAM, PERSON], ids=lambda one: one.path)
def test_a_grant_that_ended_meanwhile_sends_nothing(subject: object, status: str) -> None:
    """A call whose grant, or any above it, was suspended or revoked while its hold was taken is not sent."""
    nodes = tuple(replace(one, status=status) if one is subject else one for one in (TOP, TEAM, PERSON, OTHER))
    assert refused(tree(grants=nodes), admitted()) == "grant_inactive"
    assert refused(tree(), admitted()) is None


def test_a_capability_dies_with_its_last_key_and_a_key_alone() -> None:
    """Revoking one of two keys ends its own callers; revoking both ends whoever has the capability's text, descendants too."""
    old, new = KEYS
    gone = replace(old, revoked_at=NOW)
    cut = KnownRevocation("key", old.id, True)
    one = tree(cut, keys=(gone, new))
    assert [refused(one, admitted(), key) for key in (old.id, new.id, None)] == ["capability_revoked", None, None]
    assert [one.cuts(admitted(), key) for key in (old.id, new.id, None)] == [True, False, False]
    both = tree(cut, keys=(gone, replace(new, revoked_at=NOW)))
    assert [refused(both, admitted(), key) for key in (old.id, new.id, None)] == ["capability_revoked"] * 3
    assert [both.cuts(admitted(), key) for key in (old.id, None)] == [True, True]


@pytest.mark.parametrize(("cut_off", "reached"), [(SECOND, False), (SECOND + 1, True), (None, True)])
def test_an_issuer_key_cuts_what_it_had_signed_by_then(cut_off: int | None, reached: bool) -> None:
    """A cut-off ends calls of capabilities from before it; without one all that the key signed is over."""
    dead = replace(PUBLIC, min_issued_at=cut_off, revoked=cut_off is None)
    snapshot = tree(KnownRevocation("issuer", PUBLIC.kid, True), issuers=(dead,))
    assert snapshot.cuts(admitted(), None) == reached
    assert (refused(snapshot, admitted()) == "capability_revoked") == reached


def test_what_is_remembered_ends_when_its_time_is_up() -> None:
    """A capability that was verified before is refused from its last second on, whichever of its blocks that is."""
    snapshot = tree()
    presented = bearer(TOKEN)
    for seconds, code in ((0, None), (1799, None), (1800, "capability_expired"), (7200, "capability_expired")):
        answer = authenticate(snapshot, presented, "remit", NOW + timedelta(seconds=seconds))
        assert (answer.code.name if isinstance(answer, Refused) else None) == code
    assert len(snapshot.verified) == 1
