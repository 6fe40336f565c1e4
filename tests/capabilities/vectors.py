"""Builds docs/reference/token-vectors.json: `python -m tests.capabilities.vectors` writes it.

Published vectors never change: append only, at the end of `build`. Damaged tokens are made from bytes here, because the
product's encoder refuses to make them; where a payload is the damage it is signed by the issuer, so that nothing but
the payload can be the reason.
"""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remit.capabilities.access_keys import new_access_key
from remit.capabilities.chain import block_id
from remit.capabilities.issuer_keys import issuer_key_of
from remit.capabilities.model import Block0, Confirmation, Delegate, IssuerKey, Limit
from remit.capabilities.payload import block0_payload
from remit.capabilities.rules import mint_block0, public_key_of
from tests.capabilities.chain_vectors import chain_vectors
from tests.capabilities.chains import AUDIENCE, ISSUED, NOW, UNTIL

PATH = Path(__file__).parents[2] / "docs" / "reference" / "token-vectors.json"
ORDER = 2**252 + 27742317777372353535851937790883648493

ISSUER = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
CUT_OFF_ISSUER = Ed25519PrivateKey.from_private_bytes(bytes([2]) * 32)
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes([3]) * 32)
NEXT_SECRET = bytes([4]) * 32
KEY = issuer_key_of(ISSUER)
CUT_OFF_KEY = replace(issuer_key_of(CUT_OFF_ISSUER), verify_only=True, min_issued_at=ISSUED + 1)
REFERENCE_KEYS = {key.kid: (key.public_key, key.min_issued_at) for key in (KEY, CUT_OFF_KEY)}

MINIMAL = Block0(
    grant="grant_01k9zsmb9rtv3hqe7x2fwy5dcn",
    tenant="acme",
    epoch=1,
    audience=AUDIENCE,
    issued_at=ISSUED,
    not_before=ISSUED,
    not_after=UNTIL,
    delegate=Delegate(0, 0, 0),
    next_key=public_key_of(NEXT_SECRET),
    nonce=bytes(range(16)),
)
FULL = replace(
    MINIMAL,
    epoch=7,
    delegate=Delegate(3, 16, 600),
    limits=(
        Limit("requests", 1000, "day"),
        Limit("tokens", 0, "month"),
        Limit("usd", 500_000_000, "once"),
        Limit("usd", 9_223_372_036_854_775_807, "quarter"),
    ),
    models=("claude-*", "gpt-5.2", "meta-llama/Llama-4"),
    surfaces=("models", "openai.chat"),
    labels={"cost_centre": "R&D", "feature": 'search "β" \\ 検索', "team": "search"},
)
THUMBPRINT = base64.urlsafe_b64encode(bytes([5]) * 32).rstrip(b"=").decode()


def framed(
    payload: bytes,
    *,
    signature: bytes | None = None,
    signer: Ed25519PrivateKey = ISSUER,
    kid: str = KEY.kid,
    count: int = 1,
    tail: bytes = b"\1" + NEXT_SECRET,
) -> bytes:
    """A token's body of one block, with any of its parts replaced."""
    signature = signer.sign(b"rmt1\0" + bytes(32) + payload) if signature is None else signature
    name = kid.encode()
    head = bytes([len(name)]) + name + bytes([count])
    return head + len(payload).to_bytes(2, "big") + payload + signature + tail


def token(body: bytes) -> str:
    """The text of a body."""
    return "rmt1." + base64.urlsafe_b64encode(body).rstrip(b"=").decode()


def payload_with(old: str, new: str, block: Block0 = FULL) -> bytes:
    """The payload with one passage replaced, which must occur exactly once."""
    text = block0_payload(block).decode()
    assert text.count(old) == 1, old
    return text.replace(old, new).encode("utf-8", "surrogatepass")


class _Vectors:
    """Collects vectors in order; names are unique."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []

    def add(self, name: str, result: str, text: str, why: str, *, now: int = NOW, payload: bytes | None = None) -> None:
        assert name not in {item["name"] for item in self.items}
        expect: dict[str, str] = {"result": result}
        if payload is not None:
            expect |= {"block_id": block_id(bytes(32), payload).hex(), "payload": payload.decode()}
        self.items.append({"name": name, "why": why, "token": text, "now": now, "expect": expect})

    def valid(self, name: str, block: Block0, why: str, *, now: int = NOW) -> None:
        text = mint_block0(ISSUER, KEY, block, NEXT_SECRET).token
        self.add(name, "valid", text, why, now=now, payload=block0_payload(block))

    def payload(self, name: str, payload: bytes, why: str) -> None:
        self.add(name, "invalid", token(framed(payload)), why)


def build() -> dict[str, Any]:
    """The whole document."""
    vectors = _Vectors()
    _valid(vectors)
    _circumstances(vectors)
    _texts(vectors)
    _bodies(vectors)
    _encodings(vectors)
    _fields(vectors)
    vectors.items += chain_vectors(REFERENCE_KEYS)
    names = [item["name"] for item in vectors.items]
    assert len(names) == len(set(names))
    number = iter(range(1, 100))
    access_key = new_access_key(lambda size: bytes([next(number)]) * size)
    return {
        "format": "rmt1",
        "audience": AUDIENCE,
        "issuer_keys": [_key(KEY, 1), _key(CUT_OFF_KEY, 2)],
        "next_secret_hex": NEXT_SECRET.hex(),
        "access_key": {
            "text": access_key.text,
            "key_id": access_key.key_id,
            "secret_hash_hex": access_key.secret_hash.hex(),
        },
        "vectors": vectors.items,
    }


def _key(key: IssuerKey, seed: int) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "kid": key.kid,
        "seed_hex": (bytes([seed]) * 32).hex(),
        "public_key_hex": key.public_key.hex(),
    }
    return shown if key.min_issued_at is None else shown | {"min_issued_at": key.min_issued_at}


def _valid(v: _Vectors) -> None:
    v.valid("minimal", MINIMAL, "only required fields")
    v.valid("full", FULL, "every optional field but cnf")
    v.valid("first-second", MINIMAL, "now equals not_before", now=ISSUED)
    v.valid("last-second", MINIMAL, "now is one second before not_after", now=UNTIL - 1)
    v.valid("zero-limit", replace(MINIMAL, limits=(Limit("usd", 0, "once"),)), "amount 0 is a limit and admits nothing")
    v.valid("any-model", replace(MINIMAL, models=("*",)), "the pattern with an empty prefix")
    v.valid("full-size", _of_body_size(3068), "the longest text that is accepted: 4096 characters")
    late = replace(MINIMAL, issued_at=ISSUED + 1)
    payload = block0_payload(late)
    body = framed(payload, signer=CUT_OFF_ISSUER, kid=CUT_OFF_KEY.kid)
    v.add("cut-off-reached", "valid", token(body), "issued at the very second of its key's cut-off", payload=payload)


def _of_body_size(size: int) -> Block0:
    labels = {f"k{n:02}": "x" * 120 for n in range(20)}
    for last in range(1, 129):
        block = replace(MINIMAL, epoch=2**63 - 1, labels=labels | {"last": "x" * last})
        if len(framed(block0_payload(block))) == size:
            return block
    raise AssertionError("no such size")


def _circumstances(v: _Vectors) -> None:
    good = block0_payload(FULL)
    text = token(framed(good))
    v.add("expired", "expired", text, "now equals not_after", now=UNTIL)
    v.add("not-yet-valid", "not_yet_valid", text, "one second before not_before", now=ISSUED - 1)
    elsewhere = replace(FULL, audience="gateway.other.example")
    v.add("other-audience", "invalid", token(framed(block0_payload(elsewhere))), "another gateway's audience")
    v.add("unknown-kid", "invalid", token(framed(good, kid="nobody", signer=STRANGER)), "kid names no issuer key")
    v.add("relabelled-kid", "invalid", token(framed(good, kid=CUT_OFF_KEY.kid)), "kid names another issuer key")
    body = framed(good, signer=CUT_OFF_ISSUER, kid=CUT_OFF_KEY.kid)
    v.add("before-cut-off", "invalid", token(body), "issued one second before its key's cut-off")
    v.add("stranger", "invalid", token(framed(good, signer=STRANGER)), "signed by a key nobody trusts")
    signature = ISSUER.sign(b"rmt1\0" + bytes(32) + good)
    flipped = signature[:10] + bytes([signature[10] ^ 1]) + signature[11:]
    v.add("signature-bit", "invalid", token(framed(good, signature=flipped)), "one bit of the signature")
    scalar = int.from_bytes(signature[32:], "little") + ORDER
    v.add(
        "signature-malleated",
        "invalid",
        token(framed(good, signature=signature[:32] + scalar.to_bytes(32, "little"))),
        "S plus the group order: a second form of the same signature",
    )
    widened = payload_with('"amount":500000000', '"amount":900000000')
    v.add("payload-widened", "invalid", token(framed(widened, signature=signature)), "a larger limit, old signature")
    for name, signed in (
        ("no-domain", bytes(32) + good),
        ("id-domain", b"rmt1-id\0" + bytes(32) + good),
        ("no-previous-id", b"rmt1\0" + good),
    ):
        v.add(name, "invalid", token(framed(good, signature=ISSUER.sign(signed))), "signed over another input")
    v.add("tail-of-another", "invalid", token(framed(good, tail=b"\1" + bytes([9]) * 32)), "the tail is not next_key's")
    v.add("tail-removed", "proof_required", token(framed(good, tail=b"\0")), "no bearer secret, and no proof either")
    v.add("tail-of-another-expired", "invalid", token(framed(good, tail=b"\1" + bytes(32))), "invalid wins", now=UNTIL)
    for kind, named in (("jkt", THUMBPRINT), ("x5t#S256", THUMBPRINT), ("spiffe", "spiffe://acme.example/agent")):
        bound = replace(FULL, confirmation=Confirmation(kind, named))  # type: ignore[arg-type]
        v.add(
            f"cnf-{kind[:3]}", "proof_required", token(framed(block0_payload(bound))), "a bearer of a bound capability"
        )


def _texts(v: _Vectors) -> None:
    text = token(framed(block0_payload(FULL)))
    v.add("empty", "invalid", "", "no text")
    v.add("prefix-only", "invalid", "rmt1.", "no body")
    v.add("no-prefix", "invalid", text[5:], "the prefix is part of the format")
    v.add("prefix-upper-case", "invalid", "RMT1." + text[5:], "the prefix has one case")
    v.add("prefix-other-version", "invalid", "rmt2." + text[5:], "another version")
    v.add("padding", "invalid", text + "=", "base64 padding")
    v.add("newline", "invalid", text + "\n", "white space after the text")
    v.add("space-inside", "invalid", text[:40] + " " + text[40:], "a character decoders like to skip")
    v.add("standard-alphabet", "invalid", _standard_alphabet(), "`+` or `/` in place of `-` or `_`")
    v.add("stray-bits", "invalid", _stray_bits(), "unused bits of the last character are not zero")
    v.add(
        "impossible-length",
        "invalid",
        text + "A" * ((1 - len(text[5:])) % 4 or 4),
        "no bytes have this many characters",
    )
    v.add("too-long", "invalid", "rmt1." + "A" * 4092, "4097 characters")
    v.add("non-ascii-digit", "invalid", text[:-1] + "\u0661", "a character outside ASCII")


def _standard_alphabet() -> str:
    for epoch in range(100):
        text = token(framed(block0_payload(replace(FULL, epoch=epoch))))
        if "-" in text[5:] or "_" in text[5:]:
            return "rmt1." + text[5:].replace("-", "+").replace("_", "/")
    raise AssertionError("no such text")


def _stray_bits() -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for epoch in (1, 10, 100):
        text = token(framed(block0_payload(replace(MINIMAL, epoch=epoch))))
        if len(text[5:]) % 4:
            return text[:-1] + alphabet[alphabet.index(text[-1]) + 1]
    raise AssertionError("no such text")


def _bodies(v: _Vectors) -> None:
    good = block0_payload(FULL)
    body = framed(good)
    v.add("trailing-byte", "invalid", token(body + b"\0"), "a byte after the tail")
    v.add("cut-in-tail", "invalid", token(body[:-1]), "the secret lacks a byte")
    v.add("cut-in-signature", "invalid", token(body[:-60]), "the body ends within the signature")
    v.add("cut-in-payload", "invalid", token(body[:100]), "the body ends within the payload")
    v.add("no-tail", "invalid", token(framed(good, tail=b"")), "no tail kind")
    v.add("tail-kind", "invalid", token(framed(good, tail=b"\2" + NEXT_SECRET)), "tail kind 2")
    v.add("tail-none-with-secret", "invalid", token(framed(good, tail=b"\0" + NEXT_SECRET)), "kind none, yet a secret")
    v.add("no-blocks", "invalid", token(bytes([len(KEY.kid)]) + KEY.kid.encode() + b"\0\0"), "block count 0")
    v.add(
        "nine-blocks", "invalid", token(framed(good, count=9, tail=(body[26:-33]) * 8 + b"\0")[:3000]), "block count 9"
    )
    v.add("kid-empty", "invalid", token(framed(good, kid="")), "kid of no characters")
    v.add("kid-upper-case", "invalid", token(framed(good, kid=KEY.kid.upper() + "A")), "kid in upper case")
    v.add("kid-33", "invalid", token(framed(good, kid="k" * 33)), "kid of 33 characters")
    v.add("payload-empty", "invalid", token(framed(b"")), "payload of no bytes")
    child = json.dumps(
        {"next_key": THUMBPRINT, "nonce": "AAAAAAAAAAAAAAAAAAAAAA", "not_after": NOW + 60}, separators=(",", ":")
    ).encode()
    signed = b"rmt1\0" + block_id(bytes(32), good) + child
    link = len(child).to_bytes(2, "big") + child + Ed25519PrivateKey.from_private_bytes(NEXT_SECRET).sign(signed)
    chain = framed(good, count=2, tail=link + b"\0")
    # The one vector whose expectation was changed after it was published, from `invalid`: chains were not verified then.
    why = "a well-signed chain of two without a tail; releases that accepted one block only answered invalid"
    v.add("two-blocks", "proof_required", token(chain), why)


def _encodings(v: _Vectors) -> None:
    good = block0_payload(FULL).decode()
    v.payload("space", payload_with('"v":1', '"v": 1'), "white space")
    v.payload("newline-after", (good + "\n").encode(), "white space after the object")
    v.payload("key-order", b'{"v":1,' + good[1:].replace(',"v":1', "").encode(), "keys out of order")
    v.payload("duplicate-key", payload_with('"v":1', '"v":1,"v":1'), "a key twice, with one value")
    v.payload(
        "duplicate-key-widening", payload_with('"epoch":7', '"epoch":9,"epoch":7'), "a key twice, with two values"
    )
    v.payload("fraction", payload_with('"v":1', '"v":1.0'), "1.0 for 1")
    v.payload("exponent", payload_with('"v":1', '"v":1e0'), "1e0 for 1")
    v.payload("leading-zero", payload_with('"epoch":7', '"epoch":07'), "07 for 7")
    v.payload("plus-sign", payload_with('"epoch":7', '"epoch":+7'), "+7 for 7")
    v.payload("minus-zero", payload_with('"max_depth":3', '"max_depth":-0'), "-0 for 0")
    v.payload("escaped-letter", payload_with('"acme"', '"\\u0061cme"'), "an escape where none is needed")
    v.payload("escaped-slash", payload_with("meta-llama/L", "meta-llama\\/L"), "`\\/` for `/`")
    v.payload("escaped-key", payload_with('"v":1', '"\\u0076":1'), "an escape in a key")
    v.payload("escaped-text", payload_with("β", "\\u03b2"), "an escape for a character that stands for itself")
    v.payload("lone-surrogate", payload_with("β", "\\ud800"), "half of a pair")
    v.payload("surrogate-bytes", payload_with("β", "\ud800"), "bytes that are not UTF-8")
    v.payload("byte-order-mark", b"\xef\xbb\xbf" + good.encode(), "a byte order mark")
    v.payload("utf-16", good.encode("utf-16-le"), "another encoding of Unicode")
    v.payload("null", payload_with('"epoch":7', '"epoch":null'), "null")
    v.payload("true", payload_with('"v":1', '"v":true'), "true for 1")
    v.payload("nan", payload_with('"epoch":7', '"epoch":NaN'), "a word some decoders know")
    v.payload("beyond-64-bits", payload_with("9223372036854775807", "9223372036854775808"), "2^63")
    v.payload("two-documents", (good + "{}").encode(), "text after the object")
    v.payload("array", b"[" + good.encode() + b"]", "no object at the top")
    v.payload("nested", b'{"a":' + b"[" * 1400 + b"]" * 1400 + b"}", "nested 1400 deep")
    v.payload("brackets", b"[" * 2900, "2900 opening brackets")
    v.payload("digits", b'{"v":' + b"9" * 2900 + b"}", "an integer of 2900 digits")


def _fields(v: _Vectors) -> None:
    def change(name: str, old: str, new: str, why: str) -> None:
        v.payload(name, payload_with(old, new), why)

    change("version-2", '"v":1', '"v":2', "another version")
    change("unknown-field", '"v":1', '"v":1,"x":1', "a field the format does not have")
    change("missing-field", ',"v":1', "", "no version")
    change("missing-nonce", ',"nonce":"AAECAwQFBgcICQoLDA0ODw"', "", "no nonce")
    change("grant-prefix", '"grant_01k9', '"team_01k9', "not a grant's id")
    change("epoch-negative", '"epoch":7', '"epoch":-7', "below 0")
    change("epoch-text", '"epoch":7', '"epoch":"7"', "text for a number")
    change("empty-window", f'"not_before":{ISSUED}', f'"not_before":{UNTIL}', "not_before equals not_after")
    change("far-future", f'"not_after":{UNTIL}', '"not_after":253402300800', "the year 10000")
    change("audience-empty", f'"aud":"{AUDIENCE}"', '"aud":""', "no audience")
    change("depth-8", '"max_depth":3', '"max_depth":8', "more blocks below than a token can have")
    change("delegate-field", '"max_ttl":600', '"max_ttl":600,"more":1', "an unknown field further down")
    change("nonce-padding", '"AAECAwQFBgcICQoLDA0ODw"', '"AAECAwQFBgcICQoLDA0ODw=="', "padding within a field")
    change("nonce-stray-bits", '"AAECAwQFBgcICQoLDA0ODw"', '"AAECAwQFBgcICQoLDA0ODx"', "stray bits within a field")
    change("nonce-short", '"AAECAwQFBgcICQoLDA0ODw"', '"AAECAwQFBgcICQoLDA0O"', "15 bytes")
    change("models-order", '"claude-*","gpt-5.2"', '"gpt-5.2","claude-*"', "a list out of order")
    change("models-twice", '"claude-*","gpt-5.2"', '"gpt-5.2","gpt-5.2"', "an item twice")
    change("models-star-inside", '"claude-*"', '"claude-*-4"', "`*` before the end")
    change("surfaces-empty", '["models","openai.chat"]', "[]", "an empty list")
    change("surfaces-text", '["models","openai.chat"]', '"models"', "text for a list")
    change("limit-unit", '"unit":"tokens"', '"unit":"nanousd"', "another dimension's unit")
    change("limit-dimension", '"dimension":"tokens"', '"dimension":"seconds"', "an unknown dimension")
    change("limit-period", '"period":"month"', '"period":"minute"', "an unknown period")
    change("limit-negative", '"amount":500000000', '"amount":-1', "below 0")
    change("limit-twice", '"period":"quarter"', '"period":"once"', "two limits of one dimension and period")
    change("limit-no-unit", ',"unit":"tokens"', "", "a limit without its unit")
    change("label-key", '"team":', '"team!":', "a key with a character keys do not have")
    change("label-empty", '"search"}', '""}', "a value of no characters")
    change("label-control", "R&D", "R\\nD", "a control character")
    change("label-c1-control", "R&D", "R\u0085D", "a control character above ASCII")
    change("label-long", "R&D", "x" * 129, "a value of 129 characters")
    change("label-number", '"R&D"', "1", "a number for text")
    change("cnf-empty", '"delegate":', '"cnf":{},"delegate":', "a confirmation of nothing")
    change("cnf-two", '"delegate":', f'"cnf":{{"jkt":"{THUMBPRINT}","spiffe":"spiffe://a/b"}},"delegate":', "two kinds")
    change("cnf-unknown", '"delegate":', '"cnf":{"kid":"k"},"delegate":', "an unknown kind")


def rendered() -> str:
    """The document as it stands in the file."""
    return json.dumps(build(), indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    PATH.write_text(rendered(), encoding="utf-8")
