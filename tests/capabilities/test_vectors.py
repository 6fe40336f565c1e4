"""The published vectors: what is in the file is what the code makes, and what was published stays."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remit.capabilities import access_keys, issuer_keys
from remit.capabilities.encoding import Frame, decode_token
from remit.capabilities.model import CapabilityProblem, IssuerKey, StoredCapability, Verified, issuer_key_ring
from remit.capabilities.payload import block0_payload, holder_payload, parse_block0, parse_holder_block
from remit.capabilities.reading import inspect
from remit.capabilities.rules import verify, verify_stored
from tests.capabilities import reference_verifier
from tests.capabilities.agreement import authority_in, same_effect
from tests.capabilities.vectors import PATH, rendered

DOCUMENT: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
VECTORS: list[dict[str, Any]] = DOCUMENT["vectors"]
RING = issuer_key_ring(
    IssuerKey(key["kid"], bytes.fromhex(key["public_key_hex"]), min_issued_at=key.get("min_issued_at"))
    for key in DOCUMENT["issuer_keys"]
)

# (how many vectors from the top, SHA-256 of them in compact JSON). A row is added with each release and never edited.
# But for one row, once: `two-blocks` said "this release accepts one block only" and answered `invalid`; releases that verify
# chains answer `proof_required`. Its token did not change; the first row was bfba0879...eb2d7d1 until then.
PUBLISHED = (
    (116, "f7cd6294e12db59a3e99172687fca188ef1d6e2bc7b6b6a8fed93233511f5cc9"),
    (220, "a012cfaf536fb9eaf7a2db59774e8514fba0673489358d2711c31ab8e168982f"),
)


def each_vector(vectors: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


def digest(vectors: object) -> str:
    return hashlib.sha256(json.dumps(vectors, separators=(",", ":")).encode()).hexdigest()


def published(expect: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The ids and payloads a vector states, none where it states none; vectors of one block wrote them in the singular."""
    if "block_id" in expect:
        return [expect["block_id"]], [expect["payload"]]
    return expect.get("block_ids", []), expect.get("payloads", [])


def judge(vector: dict[str, Any]) -> Verified | CapabilityProblem:
    return verify(vector["token"], RING, DOCUMENT["audience"], datetime.fromtimestamp(vector["now"], UTC))


def test_file_is_regenerated_exactly() -> None:
    """The published file is, byte for byte, what the generator makes of fixed seeds today."""
    assert PATH.read_text(encoding="utf-8") == rendered()


@pytest.mark.parametrize(("count", "expected"), PUBLISHED)
def test_published_vectors_never_change(count: int, expected: str) -> None:
    """Vectors that were published once stand unchanged at the top of the file."""
    assert digest(VECTORS[:count]) == expected


def test_every_vector_is_published() -> None:
    """A new vector comes with its row in PUBLISHED, so that it cannot change later."""
    assert PUBLISHED[-1][0] == len(VECTORS)
    assert [count for count, _ in PUBLISHED] == sorted({count for count, _ in PUBLISHED})


def test_shared_values_never_change() -> None:
    """Issuer keys, audience, next secret and the access key of the vectors stand unchanged."""
    shared = {name: value for name, value in DOCUMENT.items() if name != "vectors"}
    assert digest(shared) == "0b3fb3ea5ca5ac290cd71f78438bd8abc944034ddf4308fd239ade248ddce4b2"


@each_vector(VECTORS)
def test_verifier_gives_the_expected_result(vector: dict[str, Any]) -> None:
    """The verifier answers every vector as published, with the published ids, payloads and effective fields."""
    answer = judge(vector)
    expect = vector["expect"]
    assert (answer.code if isinstance(answer, CapabilityProblem) else "valid") == expect["result"]
    authority = authority_in(answer)
    ids, payloads = published(expect)
    if not ids:
        assert not isinstance(answer, Verified)
        return
    assert authority is not None
    assert list(authority.block_ids) == ids
    frame = decode_token(vector["token"])
    assert isinstance(frame, Frame)
    assert [block.payload.decode() for block in frame.blocks] == payloads
    if "effective" in expect:
        same_effect(authority, expect["effective"])
        assert inspect(vector["token"]) == authority


@each_vector(VECTORS)
def test_second_verifier_agrees(vector: dict[str, Any]) -> None:
    """A verifier written from the reference page alone gives the published result."""
    keys = {kid: (key.public_key, key.min_issued_at) for kid, key in RING.items()}
    result, content = reference_verifier.verify(vector["token"], keys, DOCUMENT["audience"], vector["now"])
    assert result == vector["expect"]["result"]
    ids, payloads = published(vector["expect"])
    if ids:
        assert content is not None
        assert (content["block_ids"], content["payloads"]) == (ids, payloads)
        assert content.items() >= vector["expect"].get("effective", {}).items()


@each_vector([vector for vector in VECTORS if vector["expect"]["result"] == "valid"])
def test_valid_vectors_are_encoded_back(vector: dict[str, Any]) -> None:
    """Reading a valid payload and writing it again gives the same bytes, and one block's stored form verifies alike."""
    frame = decode_token(vector["token"])
    assert isinstance(frame, Frame)
    only, *later = frame.blocks
    assert block0_payload(parse_block0(only.payload)) == only.payload  # type: ignore[arg-type]
    for framed in later:
        assert holder_payload(parse_holder_block(framed.payload)) == framed.payload  # type: ignore[arg-type]
    if later:
        return
    stored = StoredCapability(frame.kid, only.payload, only.signature)
    now = datetime.fromtimestamp(vector["now"], UTC)
    assert verify_stored(stored, RING, DOCUMENT["audience"], now) == judge(vector)


def test_issuer_keys_of_the_vectors() -> None:
    """Seeds, public keys and kids of the vectors belong together."""
    for key in DOCUMENT["issuer_keys"]:
        made = issuer_keys.issuer_key_of(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key["seed_hex"])))
        assert (made.kid, made.public_key.hex()) == (key["kid"], key["public_key_hex"])


def test_access_key_of_the_vectors() -> None:
    """The published access key parses into its id and a secret of the published hash."""
    published = DOCUMENT["access_key"]
    parsed = access_keys.parse_access_key(published["text"])
    assert parsed is not None
    assert parsed.key_id == published["key_id"]
    assert access_keys.hash_secret(parsed.secret).hex() == published["secret_hash_hex"]


def test_worked_example_is_the_minimal_vector() -> None:
    """The example of the reference page shows the minimal vector's token, payload and id."""
    page = Path(PATH.parent / "token-format.md").read_text(encoding="utf-8")
    minimal = next(vector for vector in VECTORS if vector["name"] == "minimal")
    squeezed = "".join(page.split())
    for part in (minimal["token"], minimal["expect"]["payload"], minimal["expect"]["block_id"]):
        assert part in squeezed
