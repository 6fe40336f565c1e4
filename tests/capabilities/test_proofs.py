"""Proofs of possession: what one request's proof is good for, and that nothing else is."""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey

from remit.capabilities.chain import thumbprint
from remit.capabilities.model import CapabilityProblem
from remit.capabilities.proofs import (
    MAX_PROOF_CHARS,
    Expected,
    HolderKey,
    Proof,
    comparable_url,
    jwk_thumbprint,
    make_proof,
    public_jwk,
    read_proof,
)

NOW = datetime(2027, 3, 5, 12, 0, 0, 999_999, tzinfo=UTC)
SECOND = int(NOW.timestamp())
TOKEN = "rmt1.token"
BODY = b'{"model":"gpt-4o"}'
URL = "https://llm.acme.example/v1/chat/completions"
ED25519 = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
P256 = ec.derive_private_key(12345, ec.SECP256R1())
KEYS: dict[str, HolderKey] = {"EdDSA": ED25519, "ES256": P256}
EXPECTED = Expected(
    method="POST",
    urls=(URL,),
    token_sha256=hashlib.sha256(TOKEN.encode()).digest(),
    body_sha256=lambda: hashlib.sha256(BODY).digest(),
)
algorithms = pytest.mark.parametrize("algorithm", KEYS)
# RFC 9864 has a newer name for it; RFC 9449 and the clients there are say `EdDSA`.
eddsa_is_an_old_name = pytest.mark.filterwarnings("ignore:EdDSA is deprecated via RFC 9864")


def text_of(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def digest(raw: bytes) -> str:
    return text_of(hashlib.sha256(raw).digest())


def claims(**changed: Any) -> dict[str, Any]:
    """The claims of a proof that holds, some of them changed; None leaves one out."""
    whole = {
        "htm": "POST",
        "htu": URL,
        "iat": SECOND,
        "jti": "one",
        "ath": digest(TOKEN.encode()),
        "body_sha256": digest(BODY),
        **changed,
    }
    return {name: value for name, value in whole.items() if value is not None}


def header(algorithm: str, **changed: Any) -> dict[str, Any]:
    whole = {"typ": "dpop+jwt", "alg": algorithm, "jwk": public_jwk(KEYS[algorithm]), **changed}
    return {name: value for name, value in whole.items() if value is not None}


def signed(algorithm: str, head: bytes, body: bytes, key: HolderKey | None = None) -> str:
    """A text signed over any bytes at all, as JWS writes it."""
    signing = f"{text_of(head)}.{text_of(body)}"
    by = key or KEYS[algorithm]
    if isinstance(by, Ed25519PrivateKey):
        return f"{signing}.{text_of(by.sign(signing.encode()))}"
    r, s = ec_signature(by, signing.encode())
    return f"{signing}.{text_of(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def ec_signature(key: ec.EllipticCurvePrivateKey, message: bytes) -> tuple[int, int]:
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    return decode_dss_signature(key.sign(message, ec.ECDSA(SHA256())))


def proof(algorithm: str, head: dict[str, Any] | None = None, **changed: Any) -> str:
    return signed(algorithm, json.dumps(head or header(algorithm)).encode(), json.dumps(claims(**changed)).encode())


def made(algorithm: str, **changed: Any) -> str:
    arguments = {
        "method": "POST",
        "url": URL,
        "token": TOKEN,
        "body_sha256": hashlib.sha256(BODY).digest(),
        "now": NOW,
        "unique_id": "one",
        **changed,
    }
    return make_proof(KEYS[algorithm], **arguments)


def refused(text: str, expected: Expected = EXPECTED, now: datetime = NOW) -> str:
    found = read_proof(text, expected, now)
    assert isinstance(found, CapabilityProblem) and found.code == "proof_required", found
    return found.reason


@algorithms
def test_a_proof_holds_for_its_request(algorithm: str) -> None:
    """It names its key and an id, and is to be remembered for seven minutes from its time."""
    found = read_proof(made(algorithm), EXPECTED, NOW)
    assert isinstance(found, Proof)
    assert found.jkt == jwk_thumbprint(public_jwk(KEYS[algorithm]))
    assert (len(found.id), found.issued_at, found.expires_at) == (32, SECOND, SECOND + 420)


@eddsa_is_an_old_name
@algorithms
def test_a_proof_of_another_implementation_holds(algorithm: str) -> None:
    """What an independent JOSE library signs is read, and its thumbprint of the key is the same."""
    jwk = public_jwk(KEYS[algorithm])
    private = KEYS[algorithm]
    key = OKPKey.import_key(private) if algorithm == "EdDSA" else ECKey.import_key(private)
    text = jws.serialize_compact(header(algorithm), json.dumps(claims()), key, algorithms=["EdDSA", "ES256"])
    found = read_proof(text, EXPECTED, NOW)
    assert isinstance(found, Proof) and found.jkt == key.thumbprint() == jwk_thumbprint(jwk)


@eddsa_is_an_old_name
@algorithms
def test_another_implementation_verifies_a_proof(algorithm: str) -> None:
    """What is made here verifies with an independent JOSE library, with the claims it was made of."""
    jwk = public_jwk(KEYS[algorithm])
    key = OKPKey.import_key(jwk) if algorithm == "EdDSA" else ECKey.import_key(jwk)
    seen = jws.deserialize_compact(made(algorithm), key, algorithms=["EdDSA", "ES256"])
    assert seen.headers() == header(algorithm)
    assert json.loads(seen.payload) == claims()


def test_an_ed25519_key_has_the_thumbprint_of_chains() -> None:
    """The thumbprint a chain without a tail demands is the one its holder's proof has."""
    assert jwk_thumbprint(public_jwk(ED25519)) == thumbprint(ED25519.public_key().public_bytes_raw())


def test_the_id_is_one_for_each_key_and_jti() -> None:
    """The same key and `jti` have one id however else the proof differs; another key or `jti` has another."""

    def id_of(text: str) -> bytes:
        found = read_proof(text, EXPECTED, NOW)
        assert isinstance(found, Proof)
        return found.id

    assert id_of(proof("ES256")) == id_of(proof("ES256", iat=SECOND - 5))
    assert len({id_of(proof("ES256")), id_of(proof("EdDSA")), id_of(proof("EdDSA", jti="two"))}) == 3


@pytest.mark.parametrize(("iat", "holds"), [(-61, False), (-60, True), (0, True), (60, True), (61, False)])
def test_a_proof_holds_for_a_minute_both_ways(iat: int, holds: bool) -> None:
    """`iat` may be 60 whole seconds before or after the time here, both included, and no more."""
    assert isinstance(read_proof(proof("EdDSA", iat=SECOND + iat), EXPECTED, NOW), Proof) is holds


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"htm": "GET"}, "another method"),
        ({"htm": "post"}, "another method"),
        ({"htu": "https://llm.acme.example/v1/models"}, "another URL"),
        ({"htu": "https://llm.acme.example/v1/chat/completions/"}, "another URL"),
        ({"htu": "http://llm.acme.example/v1/chat/completions"}, "another URL"),
        ({"htu": "https://evil.example/v1/chat/completions"}, "another URL"),
        ({"htu": "https://llm.acme.example:444/v1/chat/completions"}, "another URL"),
        ({"htu": URL + "?a=b"}, "no URL of scheme"),
        ({"htu": URL + "#a"}, "no URL of scheme"),
        ({"htu": "/v1/chat/completions"}, "no URL of scheme"),
        ({"ath": digest(b"rmt1.other")}, "another credential"),
        ({"ath": digest(TOKEN.encode()) + "="}, "another credential"),
        ({"body_sha256": digest(b"")}, "another body"),
        ({"jti": ""}, "`jti`"),
        ({"jti": "x" * 129}, "`jti`"),
        ({"jti": "\n"}, "`jti`"),
        ({"jti": "ü"}, "`jti`"),
        ({"jti": 7}, "`jti`"),
        ({"iat": SECOND + 0.0}, "`iat`"),
        ({"iat": str(SECOND)}, "`iat`"),
        ({"iat": True}, "`iat`"),
        ({"iat": 10**300}, "`iat`"),
        ({"exp": SECOND + 60}, "exactly the members"),
        *(({name: None}, "exactly the members") for name in claims()),
    ],
)
@algorithms
def test_each_claim_counts(algorithm: str, changed: dict[str, Any], why: str) -> None:
    """A proof with one claim changed, added or left out is refused for that, although its signature verifies."""
    assert why in refused(proof(algorithm, **changed))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"typ": "jwt"}, "`typ`"),
        ({"typ": None}, "exactly the members"),
        ({"alg": "none"}, "`alg`"),
        ({"alg": "HS256"}, "`alg`"),
        ({"alg": ["EdDSA"]}, "`alg`"),
        ({"alg": "ES256"}, "`jwk`"),
        ({"crit": ["b64"], "b64": False}, "exactly the members"),
        ({"kid": "k"}, "exactly the members"),
        ({"jwk": None}, "exactly the members"),
        ({"jwk": "key"}, "`jwk`"),
        ({"jwk": {**public_jwk(ED25519), "d": text_of(bytes([7]) * 32)}}, "private key"),
        ({"jwk": {**public_jwk(ED25519), "crv": "Ed448"}}, "`jwk`"),
        ({"jwk": {**public_jwk(ED25519), "x": public_jwk(ED25519)["x"] + "="}}, "`x`"),
        ({"jwk": {**public_jwk(ED25519), "x": "AA"}}, "`x`"),
        ({"jwk": {**public_jwk(ED25519), "x": 5}}, "`x`"),
        ({"jwk": public_jwk(P256)}, "`jwk`"),
    ],
)
def test_each_member_of_the_header_counts(changed: dict[str, Any], why: str) -> None:
    """A header with another type, algorithm or key, or with anything more, is refused before the signature is looked at."""
    assert why in refused(proof("EdDSA", header("EdDSA", **changed)))


def test_a_public_key_is_no_shared_secret() -> None:
    """A text signed by HMAC with the public key as its secret, the classic confusion of algorithms, is refused."""
    import hmac

    head = json.dumps(header("EdDSA", alg="HS256")).encode()
    signing = f"{text_of(head)}.{text_of(json.dumps(claims()).encode())}"
    secret = ED25519.public_key().public_bytes_raw()
    assert "`alg`" in refused(f"{signing}.{text_of(hmac.digest(secret, signing.encode(), 'sha256'))}")


@algorithms
def test_another_key_does_not_sign(algorithm: str) -> None:
    """A proof signed by another key than the one it shows is refused."""
    others: dict[str, HolderKey] = {
        "EdDSA": Ed25519PrivateKey.from_private_bytes(bytes([8]) * 32),
        "ES256": ec.derive_private_key(999, ec.SECP256R1()),
    }
    text = signed(algorithm, json.dumps(header(algorithm)).encode(), json.dumps(claims()).encode(), others[algorithm])
    assert "signature" in refused(text)


def test_a_point_that_is_not_on_the_curve_is_refused() -> None:
    """Coordinates that are no point make no key."""
    jwk = {**public_jwk(P256), "y": text_of(bytes(31) + b"\x05")}
    assert "signature" in refused(proof("ES256", header("ES256", jwk=jwk)))


@pytest.mark.parametrize(
    "body",
    [
        b'{"htm":"GET",' + json.dumps(claims()).encode()[1:],
        json.dumps(claims()).encode()[:-1] + b',"iat":1}',
        b"[" * 1500,
        b'"' + b"x" * 1500,
        b"null",
        b"\xff",
    ],
)
def test_claims_that_can_be_read_two_ways_are_refused(body: bytes) -> None:
    """Members that come twice, and claims that are no JSON object, are refused."""
    assert refused(signed("EdDSA", json.dumps(header("EdDSA")).encode(), body))


def test_a_member_of_the_key_comes_once() -> None:
    """A key with a member twice is refused: readers would differ about whose proof it is."""
    head = json.dumps(header("EdDSA")).replace('"kty"', '"x": "AAAA", "kty"').encode()
    assert "twice" in refused(signed("EdDSA", head, json.dumps(claims()).encode()))


def test_size_is_bounded_before_any_work() -> None:
    """A proof of 4 KiB is read, and one character more is refused for its length alone."""
    assert refused("x" * (MAX_PROOF_CHARS + 1)).endswith("longer than 4096 characters")
    assert not refused("x" * MAX_PROOF_CHARS).endswith("characters")


def test_a_body_is_not_looked_at_for_a_forged_proof() -> None:
    """The body's digest is asked for only once the signature verified."""

    def never() -> bytes:
        raise AssertionError("the body was hashed")

    text = made("EdDSA")
    refused(text[:-4] + ("AAAA" if text[-4:] != "AAAA" else "BBBB"), replace(EXPECTED, body_sha256=never))


@algorithms
@given(st.data())
def test_no_character_of_a_proof_can_be_changed(algorithm: str, data: st.DataObject) -> None:
    """Any one character replaced, removed or added makes a proof that is refused, and nothing raises."""
    text = made(algorithm)
    at = data.draw(st.integers(0, len(text) - 1))
    put = data.draw(st.text(max_size=2))
    damaged = text[:at] + put + text[at + 1 :]
    if damaged != text:
        refused(damaged)


@given(st.text())
def test_nothing_raises_for_any_text(text: str) -> None:
    """Whatever the text, the answer is a value."""
    refused(text)


@given(
    st.dictionaries(
        st.sampled_from(["typ", "alg", "jwk"]),
        st.recursive(
            st.none() | st.text() | st.integers(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
    ),
    st.dictionaries(st.sampled_from(sorted(claims())), st.none() | st.text() | st.integers() | st.floats(), min_size=1),
)
def test_nothing_raises_for_any_members(head: dict[str, Any], body: dict[str, Any]) -> None:
    """Whatever the values of header and claims, the answer is a value; lone surrogates and `NaN` included."""
    text = signed("EdDSA", json.dumps({**header("EdDSA"), **head}).encode(), json.dumps({**claims(), **body}).encode())
    found = read_proof(text, EXPECTED, NOW)
    assert isinstance(found, CapabilityProblem | Proof)


@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize(
    "changed",
    [
        {"now": NOW - timedelta(seconds=61)},
        {"now": NOW + timedelta(seconds=61)},
        {"token": "rmt1.other"},
        {"method": "GET"},
        {"url": URL.replace("https", "http")},
        {"body_sha256": hashlib.sha256(b"").digest()},
    ],
)
def test_a_proof_made_for_another_request_is_refused(algorithm: str, changed: dict[str, Any]) -> None:
    """Another time, credential, method, address or body than the request's is refused."""
    assert refused(made(algorithm, **changed))


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: made("EdDSA", unique_id=""), "cannot stand"),
        (lambda: made("EdDSA", url="llm.acme.example/v1"), "cannot stand"),
        (lambda: public_jwk(ec.derive_private_key(1, ec.SECP384R1())), "neither"),
    ],
)
def test_what_cannot_be_proven_raises_where_it_is_made(call: Callable[[], Any], why: str) -> None:
    """A mistake in making a proof is told there."""
    with pytest.raises(ValueError, match=why):
        call()


def test_a_query_is_left_out() -> None:
    """The query and fragment of a request are no part of its proof."""
    assert isinstance(read_proof(made("EdDSA", url=URL + "?a=b#c"), EXPECTED, NOW), Proof)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("HTTPS://LLM.Acme.example:443/V1", "https://llm.acme.example/V1"),
        ("http://h:80/", "http://h/"),
        ("https://h:80/", "https://h:80/"),
        ("https://[::1]:8400/v1", "https://[::1]:8400/v1"),
        ("https://h/%41", "https://h/%41"),
        ("https://h", None),
        ("https://user@h/", None),
        ("https://h/a b", None),
        ("ftp://h/", None),
        ("https:///v1", None),
    ],
)
def test_addresses_are_compared_in_one_form(text: str, form: str | None) -> None:
    """Case of scheme and host and a scheme's own port do not count; anything of the path does."""
    assert comparable_url(text) == form
