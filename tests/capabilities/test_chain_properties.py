"""What holds for every chain: nothing done to it widens it, and appending keeps what was there."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from remit.capabilities.chain import thumbprint
from remit.capabilities.encoding import Frame, UnencodableError, decode_token, encode_token
from remit.capabilities.model import (
    Appended,
    Block0,
    CapabilityProblem,
    Confirmation,
    Delegate,
    HolderBlock,
    Verified,
)
from remit.capabilities.payload import block0_payload, holder_payload, parse_holder_block
from remit.capabilities.reading import inspect
from remit.capabilities.rules import append_block, mint_block0, public_key_of, verify
from tests.capabilities import reference_verifier
from tests.capabilities.agreement import EPOCH, MODELS, RING, SURFACES, agree, authority_in
from tests.capabilities.chains import random_chain, reencoded
from tests.capabilities.strategies import holder_blocks
from tests.capabilities.vectors import AUDIENCE, FULL, ISSUER, KEY, MINIMAL, NEXT_SECRET, NOW, UNTIL, token

INSTANT = EPOCH + timedelta(seconds=NOW)
SECRETS = [bytes([number]) * 32 for number in range(40, 50)]
PARENT = replace(FULL, delegate=Delegate(7, 16, UNTIL), limits=FULL.limits[:1])
seeds = st.integers(0, 2**32)


def covers(parent: Verified, child: Verified, *, demanded: Sequence[Confirmation]) -> None:
    """Fails where the child's authority is more than the parent's, whatever a request may look like."""
    count = len(parent.blocks)
    assert child.block_ids[:count] == parent.block_ids
    assert [one.limits for one in child.blocks[:count]] == [one.limits for one in parent.blocks]
    assert child.not_after <= parent.not_after
    assert child.not_before >= parent.not_before
    listed = {one.rstrip("*") + end for each in child.blocks for one in each.models or () for end in ("", "q")}
    assert not [one for one in {*MODELS, *listed} if child.allows_model(one) and not parent.allows_model(one)]
    offered = {one for each in child.blocks for one in each.surfaces or ()}
    assert not [one for one in {*SURFACES, *offered} if child.allows_surface(one) and not parent.allows_surface(one)]
    assert child.labels.items() >= parent.labels.items()
    assert child.delegate.max_depth <= parent.delegate.max_depth - (len(child.blocks) - count)
    assert child.delegate.max_children <= parent.delegate.max_children
    assert child.delegate.max_ttl_seconds <= parent.delegate.max_ttl_seconds
    assert set(child.confirmations) >= set(demanded)


def demanded_by(frame: Frame, authority: Verified) -> list[Confirmation]:
    """What blocks demand in `cnf`. A key that is proven only because there is no tail has signed the next block instead."""
    own = Confirmation("jkt", thumbprint(_last_key(frame)))
    return [one for one in authority.confirmations if frame.bearer_secret is not None or one != own]


def _last_key(frame: Frame) -> bytes:
    payload = frame.blocks[-1].payload
    return reference_verifier.raw(reference_verifier.Json(payload).document()["next_key"], 32)


def never_more(original: str, changed: str) -> None:
    """Fails where the changed text is valid, or could be with a proof, and is more than the original."""
    event(agree(changed))
    left = authority_in(verify(changed, RING, AUDIENCE, INSTANT))
    if left is None:
        return
    frame, whole = decode_token(original), inspect(original)
    assert isinstance(frame, Frame) and isinstance(whole, Verified)
    covers(whole, left, demanded=demanded_by(frame, whole))


def framed(text: str) -> Frame:
    frame = decode_token(text)
    assert isinstance(frame, Frame)
    return frame


@settings(max_examples=200)
@given(seeds, st.integers(2, 5), st.data())
def test_blocks_taken_moved_or_mixed_are_never_valid(seed: int, length: int, data: st.DataObject) -> None:
    """Whatever is left of a chain's blocks, in whatever order, with blocks of another chain: only the chain itself is valid."""
    rng = Random(seed)
    one, other = (random_chain(rng, length) for _ in range(2))
    # Few keys are drawn from: where the chains share one, the other's tail may rightly end a head of this one.
    assume(set(one.secrets).isdisjoint(other.secrets))
    pool = [*framed(one.text()).blocks, *framed(other.text()).blocks]
    picked = data.draw(st.lists(st.integers(0, len(pool) - 1), min_size=1, max_size=length + 1))
    whole = (list(range(length)), list(range(length, 2 * length)))
    assume(picked not in whole)
    tail = data.draw(st.sampled_from([one.secrets[-1], other.secrets[-1]]))
    try:
        text = encode_token(Frame(one.kid, tuple(pool[at] for at in picked), tail))
    except UnencodableError:
        assume(False)
    assert agree(text) == "invalid"


@settings(max_examples=200)
@given(seeds, st.integers(1, 6), st.booleans(), st.booleans())
def test_a_stripped_end_is_no_more_than_its_parent(seed: int, length: int, has_tail: bool, bound: bool) -> None:
    """Without its last blocks and its tail a chain asks for a key that only an earlier holder has."""
    chain = random_chain(Random(seed), length + 1, has_tail=has_tail, bound=bound)
    frame = framed(chain.text())
    for count in range(1, length + 1):
        if frame.bearer_secret is not None:
            assert agree(encode_token(replace(frame, blocks=frame.blocks[:count]))) == "invalid"
        bare = encode_token(replace(frame, blocks=frame.blocks[:count], bearer_secret=None))
        # Invalid where an earlier block binds to yet another key.
        assert agree(bare) in ("proof_required", "not_yet_valid", "invalid")


def test_no_changed_byte_of_a_chain_widens_it() -> None:
    """Each byte of a chain of three, changed in two ways, makes it invalid."""
    text = random_chain(Random(3), 3).text()
    body = base64.urlsafe_b64decode(text[5:] + "==")
    assert agree(text) == "valid"
    for at in range(len(body)):
        for change in (1 << at % 8, 0xFF):
            changed = token(body[:at] + bytes([body[at] ^ change]) + body[at + 1 :])
            answer = verify(changed, RING, AUDIENCE, INSTANT)
            assert isinstance(answer, CapabilityProblem) and answer.code == "invalid"


@given(seeds, st.integers(1, 5))
def test_other_encodings_of_a_chain_are_invalid(seed: int, length: int) -> None:
    """The same values written otherwise, and signed like that by the right keys, are invalid for everybody."""
    rng = Random(seed)
    text = reencoded(rng, random_chain(rng, length))
    assert agree(text) == "invalid"
    assert isinstance(inspect(text), CapabilityProblem)
    assert isinstance(append_block(text, _child(0), None, signing_secret=SECRETS[0]), CapabilityProblem)


def _child(number: int, **changes: object) -> HolderBlock:
    block = HolderBlock(not_after=NOW + 60, next_key=public_key_of(SECRETS[number]), nonce=bytes(16))
    return replace(block, **changes)  # type: ignore[arg-type]


@given(holder_blocks(SECRETS))
def test_holder_blocks_come_back(drawn: tuple[bytes, HolderBlock]) -> None:
    """A holder's block is written and read to itself."""
    assert parse_holder_block(holder_payload(drawn[1])) == drawn[1]


@settings(max_examples=400)
@given(
    st.lists(holder_blocks(SECRETS), min_size=1, max_size=8),
    st.tuples(st.sampled_from([0, 1, 2, 7, 7]), st.sampled_from([0, 1, 16]), st.sampled_from([0, 60, 10**6, UNTIL])),
    st.sampled_from([None, Confirmation("jkt", "A" * 43), Confirmation("spiffe", "spiffe://a/b")]),
    st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_appending_keeps_to_the_page(
    drawn: list[tuple[bytes, HolderBlock]], numbers: tuple[int, int, int], cnf: Confirmation | None, tails: list[bool]
) -> None:
    """A block is refused exactly where a rule of the page says so; otherwise ids stay and the chain is covered by its parent."""
    first = replace(MINIMAL, delegate=Delegate(*numbers), confirmation=cnf)
    secret, text = NEXT_SECRET, mint_block0(ISSUER, KEY, first, NEXT_SECRET).token
    payloads = [block0_payload(first)]
    for (next_secret, block), has_tail in zip(drawn, tails, strict=False):
        answer = append_block(text, block, next_secret if has_tail else None, signing_secret=secret)
        longer = [*payloads, holder_payload(block)]
        if not _page_admits(longer, has_tail=has_tail):
            event("refused")
            assert isinstance(answer, CapabilityProblem) and answer.code == "invalid"
            continue
        event("appended")
        assert isinstance(answer, Appended)
        parent, child = inspect(text), inspect(answer.token)
        assert isinstance(parent, Verified) and isinstance(child, Verified)
        assert child.block_ids == (*parent.block_ids, answer.block_id)
        assert framed(answer.token).blocks[:-1] == framed(text).blocks
        covers(parent, child, demanded=demanded_by(framed(text), parent))
        # Signatures and rules hold: what may be missing is the time or a proof.
        assert agree(answer.token) != "invalid"
        now = child.not_after - 1
        if now >= child.not_before:
            assert agree(answer.token, now) == ("proof_required" if child.confirmations else "valid")
        text, payloads, secret = answer.token, longer, next_secret


def _page_admits(payloads: list[bytes], *, has_tail: bool) -> bool:
    if len(payloads) > 8:
        return False
    fields = [reference_verifier.Json(payload).document() for payload in payloads]
    try:
        reference_verifier.chain_rules(fields)
        reference_verifier.confirmations(fields, has_tail=has_tail)
    except reference_verifier.InvalidTokenError:
        return False
    return True


@settings(max_examples=200)
@given(seeds, st.integers(1, 6), st.booleans(), holder_blocks(SECRETS))
def test_a_thief_of_a_tail_gains_nothing(seed: int, length: int, bound: bool, drawn: tuple[bytes, HolderBlock]) -> None:
    """Who appends any block to any chain whose tail was found has no more than the chain, and is not rid of its keys."""
    text = random_chain(Random(seed), length, bound=bound).text()
    longer = append_block(text, drawn[1], drawn[0])
    if isinstance(longer, Appended):
        never_more(text, longer.token)


@given(seeds, st.integers(1, 4), st.booleans())
def test_a_removed_tail_is_never_more(seed: int, length: int, bound: bool) -> None:
    """A chain without its tail asks for a proof that it did not ask for before."""
    text = random_chain(Random(seed), length, bound=bound).text()
    bare = encode_token(replace(framed(text), bearer_secret=None))
    assert agree(bare) == "proof_required"
    never_more(text, bare)


@given(seeds, st.binary(max_size=40), st.integers(-(10**6), 10**6))
def test_bad_texts_never_raise(seed: int, junk: bytes, place: int) -> None:
    """Bytes put anywhere into a chain are answered by appending, by looking and by verifying; none of them raises."""
    chain = random_chain(Random(seed), 2)
    body = base64.urlsafe_b64decode(chain.text()[5:] + "==")
    at = place % len(body)
    text = token(body[:at] + junk + body[at + len(junk) // 2 :])
    assume(len(text) <= 3800)
    agree(text)
    inspect(text)
    append_block(text, _child(0), SECRETS[0])


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(32), bytes(33)])
def test_a_secret_that_does_not_fit_appends_nothing(secret: bytes) -> None:
    """A signing secret of another size, or another key's, is a problem and not an exception."""
    text = mint_block0(ISSUER, KEY, PARENT, None).token
    answer = append_block(text, _child(0), None, signing_secret=secret)
    assert isinstance(answer, CapabilityProblem)
    assert answer.code == "invalid"


def test_appending_without_a_secret_needs_the_holders_key() -> None:
    """A chain without a tail is extended only with its holder's key."""
    text = mint_block0(ISSUER, KEY, PARENT, None).token
    answer = append_block(text, _child(0), None)
    assert isinstance(answer, CapabilityProblem)
    assert answer.code == "proof_required"
    assert isinstance(append_block(text, _child(0), None, signing_secret=NEXT_SECRET), Appended)


def test_a_block_with_its_parents_key_is_refused() -> None:
    """A key that an earlier block has would be the tail of the shorter chain too, so it is not appended."""
    text = mint_block0(ISSUER, KEY, PARENT, NEXT_SECRET).token
    answer = append_block(text, _child(0, next_key=public_key_of(NEXT_SECRET)), NEXT_SECRET)
    assert isinstance(answer, CapabilityProblem)
    assert "key of an earlier block" in answer.reason


def test_a_chain_without_room_raises_for_its_caller() -> None:
    """A block that makes the text too long is the appender's mistake and told with the length."""
    labels = {f"k{number:02}": "x" * 120 for number in range(16)}
    block: Block0 = replace(PARENT, labels=labels)
    text = mint_block0(ISSUER, KEY, block, NEXT_SECRET).token
    with pytest.raises(UnencodableError, match="characters long"):
        append_block(text, _child(0, labels={"x": "y" * 128, "z": "y" * 128}), SECRETS[0])
