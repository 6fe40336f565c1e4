"""What holds for every token: it comes back as it went in, no change of it verifies, and nothing raises."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, event, example, given, settings
from hypothesis import strategies as st

from remit.capabilities.encoding import (
    Frame,
    FramedBlock,
    Invalid,
    UnencodableError,
    decode_base64url,
    decode_canonical,
    decode_token,
    encode_base64url,
    encode_canonical,
    encode_token,
)
from remit.capabilities.model import Block0, CapabilityProblem, Verified
from remit.capabilities.payload import block0_payload, parse_block0
from remit.capabilities.rules import check_window, mint_block0, verify, verify_stored
from tests.capabilities import reference_verifier
from tests.capabilities.agreement import EPOCH, RING, agree
from tests.capabilities.strategies import frames, secrets_and_blocks, usable
from tests.capabilities.vectors import (
    AUDIENCE,
    FULL,
    ISSUER,
    KEY,
    NEXT_SECRET,
    NOW,
    framed,
    token,
)

INSTANT = datetime.fromtimestamp(NOW, UTC)
MINTED = mint_block0(ISSUER, KEY, FULL, NEXT_SECRET)
BODY = base64.urlsafe_b64decode(MINTED.token[5:] + "=" * (-len(MINTED.token[5:]) % 4))

scalars = st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
documents = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=4,
)


@given(frames)
def test_frames_come_back(frame: Frame) -> None:
    """A frame of any number of blocks is decoded to itself, or is too long to be encoded."""
    try:
        text = encode_token(frame)
    except UnencodableError:
        assert sum(len(block.payload) + 66 for block in frame.blocks) > 2900
        return
    assert len(text) <= 4096
    assert decode_token(text) == frame


@given(st.binary(max_size=80))
def test_base64url_has_one_form(raw: bytes) -> None:
    """Base64url comes back, and agrees with the standard library's."""
    assert encode_base64url(raw) == base64.urlsafe_b64encode(raw).decode().rstrip("=")
    assert decode_base64url(encode_base64url(raw)) == raw


@given(st.text(st.sampled_from("ABab01-_+/= \n"), max_size=12))
def test_base64url_text_is_canonical_or_invalid(text: str) -> None:
    """Whatever text is accepted is the one form of its bytes."""
    raw = decode_base64url(text)
    assert isinstance(raw, Invalid) or encode_base64url(raw) == text


@given(documents)
def test_canonical_json_comes_back(document: dict[str, object]) -> None:
    """An object is encoded to bytes that both parsers read as that object, if it is not nested too deeply."""
    try:
        payload = encode_canonical(document)
    except UnencodableError:
        return
    assert decode_canonical(payload) == document
    assert reference_verifier.Json(payload).document() == document


@given(documents, st.integers(0, 2), st.booleans(), st.data())
def test_other_json_of_the_same_value_is_invalid(
    document: dict[str, object], indent: int, ascii_only: bool, data: st.DataObject
) -> None:
    """JSON of the same value in another dress is invalid for both parsers."""
    items = data.draw(st.permutations(list(document.items())))
    other = json.dumps(dict(items), indent=indent or None, ensure_ascii=ascii_only).encode()
    assume(other != encode_canonical(document))
    assert isinstance(decode_canonical(other), Invalid)
    try:
        reference_verifier.Json(other).document()
    except reference_verifier.InvalidTokenError:
        return
    raise AssertionError("the second parser accepted it")


@given(secrets_and_blocks())
def test_blocks_come_back(drawn: tuple[bytes, Block0]) -> None:
    """A block is written and read to itself; its payload has one encoding."""
    block = drawn[1]
    payload = block0_payload(block)
    assert parse_block0(payload) == block


@settings(max_examples=300)
@given(secrets_and_blocks(), st.integers(0, 3))
def test_both_verifiers_agree_on_minted_tokens(drawn: tuple[bytes, Block0], where: int) -> None:
    """On generated capabilities, before, in and after their time, the two verifiers give the same answer."""
    secret, block = drawn
    minted = mint_block0(ISSUER, KEY, block, secret)
    now = (block.not_before - 1, block.not_before, block.not_after - 1, block.not_after)[where]
    event(agree(minted.token, now))
    instant = EPOCH + timedelta(seconds=max(now, 0))
    if block.confirmation is None and where in (1, 2):
        answer = verify(minted.token, RING, AUDIENCE, instant)
        assert isinstance(answer, Verified)
        assert answer.block_ids == (minted.block_id,)
        assert answer.blocks[0].limits == block.limits
        assert answer == verify_stored(minted.stored, RING, AUDIENCE, instant)


@settings(max_examples=300)
@given(st.data())
def test_no_changed_byte_verifies(data: st.DataObject) -> None:
    """Change, remove, insert or repeat bytes anywhere in the body: never valid, and both verifiers say the same."""
    body = bytearray(BODY)
    at = data.draw(st.integers(0, len(body) - 1))
    match data.draw(st.sampled_from(["flip", "remove", "insert", "cut", "extend", "repeat"])):
        case "flip":
            body[at] ^= data.draw(st.integers(1, 255))
        case "remove":
            del body[at : at + data.draw(st.integers(1, 40))]
        case "insert":
            body[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        case "cut":
            del body[at:]
        case "extend":
            body += data.draw(st.binary(min_size=1, max_size=80))
        case "repeat":
            body[at:at] = body[at : at + 40]
    assume(bytes(body) != BODY)
    result = agree(token(bytes(body)))
    event(result)
    assert result != "valid"


def test_no_flipped_bit_verifies() -> None:
    """Each single bit of a whole token's body, flipped, makes it useless."""
    for at in range(len(BODY)):
        changed = BODY[:at] + bytes([BODY[at] ^ (1 << at % 8)]) + BODY[at + 1 :]
        assert isinstance(verify(token(changed), RING, AUDIENCE, INSTANT), CapabilityProblem)


@given(st.integers(0, len(MINTED.token) - 1), st.characters())
def test_no_changed_character_verifies(at: int, letter: str) -> None:
    """Another character anywhere in the text makes it useless."""
    assume(MINTED.token[at] != letter)
    assert agree(MINTED.token[:at] + letter + MINTED.token[at + 1 :]) != "valid"


@settings(max_examples=300)
@given(st.data())
def test_both_verifiers_agree_on_damaged_payloads(data: st.DataObject) -> None:
    """Where the issuer itself signs a damaged payload, the two verifiers still give the same answer."""
    payload = block0_payload(FULL).decode()
    at = data.draw(st.integers(1, len(payload) - 1))
    piece = st.sampled_from(
        [
            " ",
            "0",
            "-",
            ".0",
            "e0",
            ",",
            '"',
            "\\",
            "\\u0041",
            "\\n",
            "null",
            "true",
            "{}",
            "[]",
            "é",
            "\x7f",
            "1",
            "a",
            "*",
        ]
    )
    size = data.draw(st.integers(0, 6))
    damaged = payload[:at] + data.draw(piece | st.text(max_size=3)) + payload[at + size :]
    raw = damaged.encode("utf-8", "surrogatepass")
    assume(0 < len(raw) < 2900)
    event(agree(token(framed(raw))))


@settings(max_examples=200)
@given(secrets_and_blocks(cnf=st.none()), secrets_and_blocks(cnf=st.none()))
def test_parts_of_two_tokens_do_not_mix(one: tuple[bytes, Block0], other: tuple[bytes, Block0]) -> None:
    """A payload, signature or tail taken from another capability of the same issuer never verifies."""
    assume(one[0] != other[0])
    payloads = [block0_payload(usable(block)) for _, block in (one, other)]
    signatures = [ISSUER.sign(b"rmt1\0" + bytes(32) + payload) for payload in payloads]
    assume(sum(map(len, payloads)) < 2900)
    mixed = [
        framed(payloads[0], signature=signatures[1], tail=b"\1" + one[0]),
        framed(payloads[0], signature=signatures[0], tail=b"\1" + other[0]),
    ]
    for body in mixed:
        assert agree(token(body), one[1].not_before) == "invalid"
    second = len(payloads[1]).to_bytes(2, "big") + payloads[1] + signatures[1]
    spliced = framed(payloads[0], count=2, tail=second + b"\1" + other[0])
    assert agree(token(spliced), one[1].not_before) == "invalid"


@settings(max_examples=300)
@given(st.binary(max_size=3068) | st.binary(max_size=60), st.booleans())
@example(b"[" * 3068, True)
@example(b'{"":' * 760, True)
@example(b"", False)
def test_random_bytes_never_raise(raw: bytes, as_payload: bool) -> None:
    """Any bytes, as a body or as a signed payload, are answered and never raise."""
    if as_payload and raw:
        assert isinstance(parse_block0(raw), Invalid)
        agree(token(framed(raw[:2900])))
    assert agree(token(raw)) == "invalid"


@given(st.text(max_size=5000) | st.text(st.characters(), max_size=200).map(lambda text: "rmt1." + text))
def test_random_text_never_raises(text: str) -> None:
    """Any text at all, lone surrogates included, is answered and never raises."""
    assert isinstance(verify(text, RING, AUDIENCE, INSTANT), CapabilityProblem)


@given(st.integers(0, 10**10), st.integers(0, 10**10), st.integers(0, 10**16))
def test_window_is_half_open(first: int, last: int, micros: int) -> None:
    """A capability is of use exactly while `not_before <= now < not_after`, to the microsecond."""
    now = EPOCH + timedelta(microseconds=micros)
    problem = check_window(first, last, now)
    assert (problem is None) == (first * 10**6 <= micros < last * 10**6)


@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=20), st.binary(min_size=64, max_size=64)), min_size=9, max_size=9)
)
def test_nine_blocks_are_not_encoded(parts: list[tuple[bytes, bytes]]) -> None:
    """A frame of nine blocks has no text."""
    frame = Frame("k", tuple(FramedBlock(*part) for part in parts), None)
    try:
        encode_token(frame)
    except UnencodableError:
        return
    raise AssertionError("nine blocks were encoded")


@pytest.mark.parametrize(("arrays", "deep", "accepted"), [(62, 2, True), (63, 2, False), (1, 7, True), (1, 8, False)])
def test_nesting_and_number_of_containers_are_bounded(arrays: int, deep: int, accepted: bool) -> None:
    """A payload has at most 64 objects and arrays, 8 deep; both parsers draw the same line."""
    value: object = [[] for _ in range(arrays)]
    for _ in range(deep - 2):
        value = [value]
    payload = json.dumps({"a": value}, separators=(",", ":")).encode()
    if accepted:
        assert decode_canonical(payload) == reference_verifier.Json(payload).document()
        return
    assert isinstance(decode_canonical(payload), Invalid)
    with pytest.raises(reference_verifier.InvalidTokenError):
        reference_verifier.Json(payload).document()


@pytest.mark.parametrize("value", ["true", "false", "null", "1.5", "NaN", "Infinity", "[1,true]", '{"b":null}'])
def test_values_canonical_json_does_not_have(value: str) -> None:
    """A value that comes back as it went in is still invalid where it is no object, array, string or integer."""
    payload = f'{{"a":{value}}}'.encode()
    assert isinstance(decode_canonical(payload), Invalid)
    with pytest.raises(UnencodableError):
        encode_canonical(json.loads(payload))
