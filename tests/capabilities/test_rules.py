"""Minting and verifying, case by case: what the vectors and properties do not say."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remit.capabilities.chain import block_id
from remit.capabilities.encoding import (
    MAX_TOKEN_CHARS,
    Frame,
    FramedBlock,
    UnencodableError,
    encode_base64url,
    encode_canonical,
    encode_token,
)
from remit.capabilities.issuer_keys import issuer_key_of
from remit.capabilities.model import (
    Block0,
    CapabilityProblem,
    Confirmation,
    Delegate,
    IssuerKey,
    Limit,
    StoredCapability,
    Verified,
    VerifiedBlock,
    issuer_key_ring,
)
from remit.capabilities.rules import check_window, mint_block0, public_key_of, verify, verify_stored
from remit.kernel.decisions import RefusalCode
from tests.capabilities.vectors import AUDIENCE, FULL, ISSUED, ISSUER, KEY, MINIMAL, NEXT_SECRET, NOW, UNTIL

RING = issuer_key_ring([KEY])
INSTANT = datetime.fromtimestamp(NOW, UTC)


def verified(block: Block0 = FULL) -> Verified:
    answer = verify(mint_block0(ISSUER, KEY, block, NEXT_SECRET).token, RING, AUDIENCE, INSTANT)
    assert isinstance(answer, Verified)
    return answer


def test_verified_carries_the_block() -> None:
    """A verified capability has the grant, the limits with their bucket's id, the labels and the window."""
    answer = verified()
    minted = mint_block0(ISSUER, KEY, FULL, NEXT_SECRET)
    assert (answer.kid, answer.grant, answer.tenant, answer.epoch) == (KEY.kid, FULL.grant, "acme", 7)
    assert (answer.issued_at, answer.not_before, answer.not_after) == (ISSUED, ISSUED, UNTIL)
    assert answer.delegate == Delegate(max_depth=3, max_children=16, max_ttl_seconds=600)
    assert answer.labels == FULL.labels
    assert answer.block_ids == (minted.block_id,)
    assert answer.blocks[0].limits == FULL.limits
    assert [(limit.dimension, limit.unit) for limit in answer.blocks[0].limits] == [
        ("requests", "requests"),
        ("tokens", "tokens"),
        ("usd", "nanousd"),
        ("usd", "nanousd"),
    ]


def test_block_id_is_over_content_only() -> None:
    """A block's id is the documented hash of the id before it and the payload."""
    assert block_id(bytes(32), b"{}") == hashlib.sha256(b"rmt1-id\0" + bytes(32) + b"{}").digest()
    assert block_id(bytes(32), b"{}") != block_id(bytes([1]) * 32, b"{}")


def test_id_does_not_depend_on_who_signs() -> None:
    """The same payload under another issuer key has the same id: rotating a key resets no bucket."""
    other = Ed25519PrivateKey.from_private_bytes(bytes([8]) * 32)
    mine = mint_block0(ISSUER, KEY, FULL, NEXT_SECRET)
    theirs = mint_block0(other, issuer_key_of(other), FULL, NEXT_SECRET)
    assert mine.block_id == theirs.block_id
    assert mine.token != theirs.token


def test_minting_puts_lists_in_order() -> None:
    """Limits, models and surfaces may be given in any order and come out in the one order of the format."""
    shuffled = replace(FULL, limits=FULL.limits[::-1], models=("gpt-5.2", "claude-*", "meta-llama/Llama-4"))
    assert mint_block0(ISSUER, KEY, shuffled, NEXT_SECRET) == mint_block0(ISSUER, KEY, FULL, NEXT_SECRET)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"grant": "grant_x"}, "`grant`"),
        ({"epoch": -1}, "`epoch`"),
        ({"epoch": 2**63}, "64 bits"),
        ({"audience": "a b"}, "`aud`"),
        ({"not_before": UNTIL}, "`not_before`"),
        ({"issued_at": UNTIL}, "`issued_at`"),
        ({"models": ()}, "`models`"),
        ({"models": ("a", "a")}, "`models`"),
        ({"surfaces": ("",)}, "`surfaces`"),
        ({"limits": (Limit("usd", -1, "day"),)}, "`limits`"),
        ({"limits": (Limit("usd", 1, "day"), Limit("usd", 2, "day"))}, "`limits`"),
        ({"labels": {"team": "a\nb"}}, "`labels`"),
        ({"labels": {"team": "\ud800"}}, "not Unicode"),
        ({"nonce": bytes(15)}, "`nonce`"),
        ({"next_key": bytes(32)}, "next secret"),
        ({"delegate": Delegate(8, 0, 0)}, "`max_depth`"),
        ({"confirmation": Confirmation("jkt", "short")}, "`cnf`"),
        ({"labels": {f"k{n}": "x" * 128 for n in range(17)}}, "characters long"),
        ({"labels": {f"k{n}": "x" * 128 for n in range(40)}}, "longer than"),
    ],
)
def test_minting_refuses_what_no_verifier_accepts(change: dict[str, object], words: str) -> None:
    """A field out of its range is the issuer's mistake, told at once and by name."""
    with pytest.raises(UnencodableError, match=words):
        mint_block0(ISSUER, KEY, replace(FULL, **change), NEXT_SECRET)  # type: ignore[arg-type]


def test_only_an_issuer_key_that_signs_mints() -> None:
    """A verify-only key, another key's public half and a secret of the wrong size do not mint."""
    with pytest.raises(UnencodableError, match="does not sign"):
        mint_block0(ISSUER, replace(KEY, verify_only=True), FULL, NEXT_SECRET)
    with pytest.raises(UnencodableError, match="does not sign"):
        mint_block0(Ed25519PrivateKey.from_private_bytes(bytes(32)), KEY, FULL, NEXT_SECRET)
    with pytest.raises(UnencodableError, match="next secret"):
        mint_block0(ISSUER, KEY, FULL, NEXT_SECRET[:31])


def test_verify_only_key_still_verifies() -> None:
    """A key that was rotated out keeps verifying what it signed."""
    ring = issuer_key_ring([replace(KEY, verify_only=True)])
    token = mint_block0(ISSUER, KEY, FULL, NEXT_SECRET).token
    assert isinstance(verify(token, ring, AUDIENCE, INSTANT), Verified)


def test_cut_off_is_about_issue_and_not_about_start() -> None:
    """A capability issued before the cut-off is invalid even where its validity starts after it."""
    ring = issuer_key_ring([replace(KEY, min_issued_at=ISSUED + 10)])
    early = mint_block0(ISSUER, KEY, replace(MINIMAL, issued_at=ISSUED, not_before=ISSUED + 20), NEXT_SECRET).token
    later = mint_block0(ISSUER, KEY, replace(MINIMAL, issued_at=ISSUED + 10), NEXT_SECRET).token
    answer = verify(early, ring, AUDIENCE, INSTANT)
    assert isinstance(answer, CapabilityProblem)
    assert "cut-off" in answer.reason
    assert isinstance(verify(later, ring, AUDIENCE, INSTANT), Verified)


def test_a_ring_holds_a_key_once() -> None:
    """Neither a kid nor a public key may come twice: a relabelled kid would dodge the other's cut-off."""
    with pytest.raises(ValueError, match="share"):
        issuer_key_ring([KEY, IssuerKey("other", KEY.public_key)])
    with pytest.raises(ValueError, match="share"):
        issuer_key_ring([KEY, IssuerKey(KEY.kid, bytes(32))])


@pytest.mark.parametrize("signature", [b"", bytes(64), bytes(63), bytes(65)])
def test_stored_capability_with_a_bad_signature(signature: bytes) -> None:
    """A stored row whose signature does not fit is invalid, whatever its size."""
    stored = replace(mint_block0(ISSUER, KEY, FULL, NEXT_SECRET).stored, signature=signature)
    answer = verify_stored(stored, RING, AUDIENCE, INSTANT)
    assert isinstance(answer, CapabilityProblem)
    assert answer.code == "invalid"


def test_stored_capability_with_a_bad_payload() -> None:
    """A stored row whose payload is not one is invalid, also when it is huge."""
    for payload in (b"", b"{}", b"x" * 100_000):
        answer = verify_stored(StoredCapability(KEY.kid, payload, bytes(64)), RING, AUDIENCE, INSTANT)
        assert isinstance(answer, CapabilityProblem)
        assert answer.code == "invalid"


def test_stored_capability_bound_to_a_key_needs_proof() -> None:
    """An access key cannot stand for a capability that asks for proof of possession."""
    bound = replace(FULL, confirmation=Confirmation("spiffe", "spiffe://acme.example/agent"))
    stored = mint_block0(ISSUER, KEY, bound, NEXT_SECRET).stored
    answer = verify_stored(stored, RING, AUDIENCE, INSTANT)
    assert isinstance(answer, CapabilityProblem)
    assert answer.code == "proof_required"


def test_weak_issuer_key_does_not_raise() -> None:
    """A ring that holds bytes which are no point of the curve makes tokens invalid, not the process."""
    ring = {KEY.kid: IssuerKey(KEY.kid, b"\xff" * 32)}
    answer = verify(mint_block0(ISSUER, KEY, FULL, NEXT_SECRET).token, ring, AUDIENCE, INSTANT)
    assert isinstance(answer, CapabilityProblem)


@pytest.mark.parametrize(
    ("second", "code"),
    [(ISSUED - 1, "not_yet_valid"), (ISSUED, None), (UNTIL - 1, None), (UNTIL, "expired"), (UNTIL + 1, "expired")],
)
def test_window_of_a_cached_capability(second: int, code: str | None) -> None:
    """A cached answer is checked against its window again, by the same boundary rule."""
    problem = check_window(ISSUED, UNTIL, datetime.fromtimestamp(second, UTC))
    assert (problem.code if problem else None) == code


def test_problems_map_to_refusal_codes() -> None:
    """Every problem has its refusal code; not yet valid is told as invalid, whose status it shares."""
    codes = {
        code: CapabilityProblem(code, "").refusal_code
        for code in ("invalid", "not_yet_valid", "expired", "proof_required")
    }
    assert codes == {
        "invalid": RefusalCode.capability_invalid,
        "not_yet_valid": RefusalCode.capability_invalid,
        "expired": RefusalCode.capability_expired,
        "proof_required": RefusalCode.proof_required,
    }


@pytest.mark.parametrize(
    ("models", "model", "allowed"),
    [
        (None, "gpt-5.2", True),
        (("gpt-5.2",), "gpt-5.2", True),
        (("gpt-5.2",), "gpt-5.2-mini", False),
        (("gpt-5.2",), "GPT-5.2", False),
        (("gpt-5*",), "gpt-5", True),
        (("gpt-5*",), "gpt-5.2-mini", True),
        (("gpt-5*",), "gpt-4", False),
        (("*",), "anything", True),
        (("a", "b*"), "bc", True),
        (("gpt-5*",), "gpt-5*", True),
    ],
)
def test_model_patterns(models: tuple[str, ...] | None, model: str, allowed: bool) -> None:
    """A name matches exactly, a pattern by its prefix; no list restricts nothing."""
    assert verified(replace(MINIMAL, models=models)).allows_model(model) is allowed


def test_authority_is_the_intersection_over_blocks() -> None:
    """A later block cannot widen an earlier one: both must allow."""
    answer = verified(replace(MINIMAL, models=("gpt-*",), surfaces=("openai.chat",)))
    later = VerifiedBlock("00", (), ("*",), ("models", "openai.chat"), UNTIL, MINIMAL.delegate)
    chain = replace(answer, blocks=(*answer.blocks, later))
    assert chain.allows_model("gpt-5.2") and not chain.allows_model("claude-5")
    assert chain.allows_surface("openai.chat") and not chain.allows_surface("models")


def test_secrets_stay_out_of_representations() -> None:
    """Neither a minted capability nor a frame shows its secret when it is logged by accident."""
    minted = mint_block0(ISSUER, KEY, FULL, NEXT_SECRET)
    assert minted.token not in repr(minted)
    frame = Frame("k", (FramedBlock(b"{}", bytes(64)),), b"\x04" * 32)
    assert "x04" not in repr(frame)


def test_eight_blocks_with_a_limit_each_fit() -> None:
    """The longest chain has room for a limit, a model and a lifetime in every block."""
    limit = {"amount": 500_000_000, "dimension": "usd", "period": "once", "unit": "nanousd"}
    key = encode_base64url(public_key_of(NEXT_SECRET))
    child = encode_canonical({"limits": [limit], "next_key": key, "nonce": "A" * 22, "not_after": UNTIL})
    first = mint_block0(ISSUER, KEY, replace(MINIMAL, limits=(Limit("usd", 10**12, "month"),)), NEXT_SECRET).stored
    blocks = (FramedBlock(first.payload, bytes(64)), *[FramedBlock(child, bytes(64))] * 7)
    assert len(encode_token(Frame(KEY.kid, blocks, NEXT_SECRET))) <= MAX_TOKEN_CHARS
