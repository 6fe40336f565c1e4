"""Texts of 4 KiB that are made to be slow, and honest ones of that size; for tests of steps and for the benchmark."""

from dataclasses import replace
from random import Random

from tests.capabilities.chains import (
    ISSUER_SECRET,
    KID,
    Chain,
    assembled,
    canonical,
    private,
    public_text,
    random_chain,
    text64,
)

BODY_BYTES = 3068
"""The longest body that a text of 4,096 characters has room for."""


def _signed(payload: bytes) -> str:
    """One block with this payload, signed by the issuer, filling the text as far as the payload does."""
    signature = private(ISSUER_SECRET).sign(b"rmt1\0" + bytes(32) + payload)
    return assembled(KID, [len(payload).to_bytes(2, "big") + payload + signature], b"\0")


def _filled(head: bytes, piece: bytes, last: bytes, room: int = BODY_BYTES - 26 - 66 - 1) -> bytes:
    return head + piece * ((room - len(head) - len(last)) // len(piece)) + last


def _objects() -> dict[str, bytes]:
    """Payloads, canonical and not, of one block each."""
    keys = b",".join(b'"%04d":0' % number for number in range(320))
    texts = b",".join(b'"%03d":""' % number for number in range(330))
    return {
        "arrays in arrays": _filled(b'{"a":', b"[", b""),
        "arrays in arrays, closed": b'{"a":' + b"[" * 1484 + b"]" * 1484 + b"}",
        "objects in objects": _filled(b"", b'{"":', b""),
        "many arrays": _filled(b'{"a":[[]', b",[]", b"]}"),
        "many objects": _filled(b'{"a":[{}', b",{}", b"]}"),
        "many numbers": _filled(b'{"a":[0', b",0", b"]}"),
        "many texts": _filled(b'{"a":[""', b',""', b"]}"),
        "many keys": b"{" + keys + b"}",
        "many keys and texts": b"{" + texts + b"}",
        "one key again": _filled(b'{"a":0', b',"a":0', b"}"),
        "one digit": _filled(b'{"a":', b"9", b"}"),
        "one zero": _filled(b'{"a":', b"0", b"}"),
        "one fraction": _filled(b'{"a":0.', b"3", b"}"),
        "one exponent": _filled(b'{"a":1e', b"9", b"}"),
        "escapes": _filled(b'{"a":"', b"\\u0001", b'"}'),
        "quotes": _filled(b'{"a":"', b'\\"', b'"}'),
        "surrogates": _filled(b'{"a":"', b"\\ud800", b'"}'),
        "long text": _filled(b'{"a":"', b"x", b'"}'),
        "wide text": _filled(b'{"a":"', "\u691c".encode(), b'"}'),
        "white space": _filled(b'{"a":', b" ", b"0}"),
        "not UTF-8": _filled(b"", b"\xff", b""),
    }


def _many_models() -> Chain:
    """Eight blocks, the last with as many models as there is room for."""
    chain = random_chain(Random(8), 8)
    models: list[str] = []
    while sum(map(len, chain.payloads())) + 66 * 8 < 3000:
        models.append(f"m{len(models):03}")
        chain = chain.with_block(7, models=models)
    return chain


def hostile_texts() -> dict[str, str]:
    """Name to text; each of them is invalid."""
    chain = random_chain(Random(4), 8)
    blocks = [b"\0\1{" + bytes(64)] * 8
    last = {"next_key": public_text(ISSUER_SECRET), "nonce": "A" * 22, "not_after": -1}
    padded = replace(chain, fields=(*chain.fields[:7], last | {"labels": {"a": "x" * 700}}))
    return {
        **{name: _signed(payload) for name, payload in _objects().items()},
        "all A": "rmt1." + "A" * 4091,
        "all _": "rmt1." + "_" * 4091,
        "stray bits": "rmt1." + "A" * 4090 + "B",
        "equals signs": "rmt1." + "=" * 4091,
        "one foreign character": "rmt1." + "A" * 4089 + "\u00e9",
        "no such length": "rmt1." + "A" * 4089,
        "a million characters": "rmt1." + "A" * 10**6,
        "eight blocks of one byte": assembled(KID, blocks, b"\0"),
        "a large payload and no signature": "rmt1." + text64(b"\1k\1\x0b\xff" + bytes(3000)),
        "eight blocks, the last one out of its form": padded.text(),
    }


def honest_texts() -> dict[str, str]:
    """Name to text; each of them is well formed."""
    first = random_chain(Random(1), 1)
    labels: dict[str, str] = {}
    while len(canonical(first.with_block(0, labels=labels or None).fields[0])) < 2820:
        labels[f"k{len(labels):02}"] = "x" * 110
    return {
        "one block": first.text(),
        "one block of 4 KiB": first.with_block(0, labels=labels).text(),
        "three blocks": random_chain(Random(3), 3).text(),
        "five blocks": random_chain(Random(5), 5).text(),
        "eight blocks": random_chain(Random(8), 8).text(),
        "eight blocks of 4 KiB": _many_models().text(),
    }
