"""Chains made from bytes, honest and damaged, by seeds: what the two verifiers are compared on.

Nothing here is made by the product: a damage it would refuse to write is signed all the same, so that nothing but the
damage can be the reason.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

AUDIENCE = "gateway.acme.example"
ISSUED = 1_795_000_000
NOW = ISSUED + 3600
UNTIL = ISSUED + 86_400
KID = "fae9a2d35921c2bf77dd9bcd"
Fields = dict[str, Any]
ISSUER_SECRET = bytes([1]) * 32


@cache
def private(secret: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(secret)


@cache
def public_text(secret: bytes) -> str:
    """A secret's `next_key`."""
    return text64(private(secret).public_key().public_bytes_raw())


def text64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def canonical(fields: object) -> bytes:
    return json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")


def ids_of(payloads: Sequence[bytes]) -> list[bytes]:
    ids = [bytes(32)]
    for payload in payloads:
        ids.append(hashlib.sha256(b"rmt1-id\0" + ids[-1] + payload).digest())
    return ids[1:]


@dataclass(frozen=True)
class Chain:
    """Blocks by their fields; `secrets[i]` is the other half of block i's `next_key`."""

    fields: tuple[Fields, ...]
    secrets: tuple[bytes, ...]
    has_tail: bool = True
    kid: str = KID

    def payloads(self) -> list[bytes]:
        return [canonical(one) for one in self.fields]

    def signers(self) -> list[bytes]:
        return [ISSUER_SECRET, *self.secrets][: len(self.fields)]

    def tail(self) -> bytes:
        return b"\1" + self.secrets[len(self.fields) - 1] if self.has_tail else b"\0"

    def blocks(self, payloads: list[bytes] | None = None, signers: list[bytes] | None = None) -> list[bytes]:
        """Each block as it is framed, signed by its parent's secret where nobody else is named."""
        payloads = payloads or self.payloads()
        before, framed = [bytes(32), *ids_of(payloads)], []
        for previous, payload, signer in zip(before, payloads, signers or self.signers(), strict=False):
            signature = private(signer).sign(b"rmt1\0" + previous + payload)
            framed.append(len(payload).to_bytes(2, "big") + payload + signature)
        return framed

    def text(self) -> str:
        return assembled(self.kid, self.blocks(), self.tail())

    def with_block(self, number: int, **changes: Any) -> "Chain":
        """The same chain with fields of one block replaced; None removes a field. Everything is signed again."""
        changed = {name: value for name, value in (self.fields[number] | changes).items() if value is not None}
        return replace(self, fields=(*self.fields[:number], changed, *self.fields[number + 1 :]))


def assembled(kid: str, blocks: Sequence[bytes], tail: bytes) -> str:
    name = kid.encode()
    return "rmt1." + text64(bytes([len(name)]) + name + bytes([len(blocks) & 0xFF]) + b"".join(blocks) + tail)


def new_delegate(depth: int, children: int = 100, ttl: int = UNTIL) -> Fields:
    return {"max_depth": depth, "max_children": children, "max_ttl": ttl}


def random_chain(rng: Random, length: int, *, bound: bool = False, has_tail: bool = True) -> Chain:
    """A chain that is valid at NOW, with room for a little more; `bound` puts `cnf` somewhere, without contradiction."""
    while True:
        chain = _random_chain(rng, length, bound, has_tail)
        if sum(map(len, chain.payloads())) + 66 * length < 2900:
            return chain


def _random_chain(rng: Random, length: int, bound: bool, has_tail: bool) -> Chain:
    fields: list[Fields] = []
    secrets = [bytes([one]) * 32 for one in rng.sample(range(16, 200), length)]
    until = UNTIL - rng.randrange(100)
    bound_at = rng.randrange(length) if bound else -1
    kind, named = rng.choice([("x5t#S256", "A" * 43), ("spiffe", "spiffe://acme.example/agent")])
    for number in range(length):
        one: Fields = {"next_key": public_text(secrets[number]), "nonce": text64(rng.randbytes(16)), "not_after": until}
        one |= _restrictions(rng, number)
        if number == bound_at or (number > bound_at >= 0 and rng.random() < 0.2):
            one["cnf"] = {kind: named}
        if rng.random() < 0.3:
            one["delegate"] = new_delegate(7 - rng.randrange(number + 1), rng.randrange(1, 50), UNTIL)
        fields.append(one)
        until -= rng.choice([0, 1, 50])
    fields[0] |= {
        "v": 1,
        "grant": "grant_01k9zsmb9rtv3hqe7x2fwy5dcn",
        "tenant": "acme",
        "epoch": rng.randrange(9),
        "aud": AUDIENCE,
        "issued_at": ISSUED,
        "not_before": ISSUED - rng.randrange(50),
        "delegate": new_delegate(7, rng.randrange(1, 2**31), rng.choice([UNTIL, 90_000])),
    }
    return Chain(tuple(fields), tuple(secrets), has_tail)


def _restrictions(rng: Random, number: int) -> Fields:
    one: Fields = {}
    if rng.random() < 0.4:
        limit = {"amount": rng.choice([0, 5, 10**9]), "dimension": "usd", "period": "once", "unit": "nanousd"}
        one["limits"] = [limit]
    if rng.random() < 0.3:
        one["models"] = sorted(
            rng.sample(["*", "claude-*", "gpt-*", "gpt-5*", "gpt-5.2", "meta/x"], rng.randrange(1, 3))
        )
    if rng.random() < 0.2:
        one["surfaces"] = sorted(rng.sample(["models", "openai.chat", "openai.embeddings"], rng.randrange(1, 3)))
    if rng.random() < 0.2:
        one["labels"] = {f"l{number}": rng.choice(["x", "β", '"\\'])}
    return one


# Damages: each takes a random source and a chain that is valid, and gives a text.
Damage = Callable[[Random, Chain], str]


def stripped(rng: Random, chain: Chain) -> str:
    """A block is taken out; the rest stays as it was signed."""
    blocks = chain.blocks()
    del blocks[rng.randrange(len(blocks))]
    return assembled(chain.kid, blocks, chain.tail())


def reordered(rng: Random, chain: Chain) -> str:
    """Two neighbours change places."""
    blocks = chain.blocks()
    at = rng.randrange(len(blocks) - 1)
    blocks[at], blocks[at + 1] = blocks[at + 1], blocks[at]
    return assembled(chain.kid, blocks, chain.tail())


def spliced(rng: Random, chain: Chain) -> str:
    """The end of one chain on the head of another of the same length and the same keys."""
    at = rng.randrange(1, len(chain.fields))
    other = chain.with_block(at - 1, nonce=text64(rng.randbytes(16)))
    return assembled(chain.kid, other.blocks()[:at] + chain.blocks()[at:], chain.tail())


def tampered(rng: Random, chain: Chain) -> str:
    """One bit somewhere in the body."""
    body = bytearray(base64.urlsafe_b64decode(chain.text()[5:] + "=="))
    body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
    return "rmt1." + text64(bytes(body))


def reencoded(rng: Random, chain: Chain) -> str:
    """The same values in another dress, and signed like that."""
    payloads = chain.payloads()
    at = rng.randrange(len(payloads))
    value = chain.fields[at]
    payloads[at] = rng.choice(
        [
            json.dumps(value, sort_keys=True, ensure_ascii=False).encode(),
            canonical(value) + b"\n",
            json.dumps(dict(sorted(value.items(), reverse=True)), separators=(",", ":"), ensure_ascii=False).encode(),
            canonical(value).replace(b'"nonce"', b'"\\u006eonce"'),
            canonical(value)[:-1] + b',"nonce":"' + value["nonce"].encode() + b'"}',
        ]
    )
    return assembled(chain.kid, chain.blocks(payloads), chain.tail())


def extended(rng: Random, chain: Chain) -> str:
    """Bytes at the end, or a block that nobody counted."""
    blocks = chain.blocks()
    extra = rng.choice([b"\0", blocks[-1], rng.randbytes(33)])
    return assembled(chain.kid, blocks, chain.tail() + extra)


def wrong_tail(rng: Random, chain: Chain) -> str:
    """A secret of another block, or of nobody."""
    at = chain.fields[-1]["next_key"]
    others = [one for one in (*chain.secrets[:-1], ISSUER_SECRET, bytes(32)) if public_text(one) != at]
    return assembled(chain.kid, chain.blocks(), b"\1" + rng.choice(others))


def wrong_signer(rng: Random, chain: Chain) -> str:
    """A later block signed by the issuer, by its own key or by a stranger."""
    signers = chain.signers()
    at = rng.randrange(1, len(signers))
    others = (ISSUER_SECRET, chain.secrets[at], bytes([9]) * 32)
    signers[at] = rng.choice([one for one in others if one != signers[at]])
    return assembled(chain.kid, chain.blocks(signers=signers), chain.tail())


def too_deep(rng: Random, chain: Chain) -> str:
    """A block that has a child may not be handed on, for one of three reasons."""
    at = rng.randrange(len(chain.fields) - 1)
    numbers = new_delegate(7) | {rng.choice(["max_depth", "max_children", "max_ttl"]): 0}
    return chain.with_block(at, delegate=numbers).text()


def depth_used_up(rng: Random, chain: Chain) -> str:
    """The issuer allows one level less than there is."""
    return chain.with_block(0, delegate=new_delegate(len(chain.fields) - 2)).text()


def outliving(rng: Random, chain: Chain) -> str:
    """A block that ends after its parent."""
    at = rng.randrange(1, len(chain.fields))
    return chain.with_block(at, not_after=chain.fields[at - 1]["not_after"] + rng.choice([1, 10**6])).text()


def label_clash(rng: Random, chain: Chain) -> str:
    """A later block states a label again, with the same value or another."""
    at = rng.randrange(1, len(chain.fields))
    chain = chain.with_block(rng.randrange(at), labels={"team": "a"})
    return chain.with_block(at, labels={"team": rng.choice("ab")}).text()


def ttl_too_long(rng: Random, chain: Chain) -> str:
    """A block whose end is further away than its parent's children may live: not valid yet."""
    at = rng.randrange(len(chain.fields) - 1)
    return chain.with_block(at, delegate=new_delegate(7, ttl=rng.randrange(1, 3600))).text()


def cnf_clash(rng: Random, chain: Chain) -> str:
    """Two blocks name different keys of one kind."""
    first, second = sorted(rng.sample(range(len(chain.fields)), 2))
    bare = replace(chain, fields=tuple({k: v for k, v in one.items() if k != "cnf"} for one in chain.fields))
    kind, one, other = rng.choice(
        [
            ("jkt", "A" * 43, "B" * 42 + "A"),
            ("x5t#S256", "A" * 43, "B" * 42 + "A"),
            ("spiffe", "spiffe://a/b", "spiffe://a/c"),
        ]
    )
    return bare.with_block(first, cnf={kind: one}).with_block(second, cnf={kind: other}).text()


def cnf_against_last_key(rng: Random, chain: Chain) -> str:
    """An earlier block names another key than the last one's, which has to be proven because there is no tail."""
    at = rng.randrange(len(chain.fields) - 1)
    bare = replace(chain, has_tail=False).with_block(len(chain.fields) - 1, cnf=None)
    return bare.with_block(at, cnf={"jkt": "A" * 43}).text()


def key_again(rng: Random, chain: Chain) -> str:
    """Two blocks name one key; the tail and all signatures are its."""
    first, second = sorted(rng.sample(range(len(chain.fields)), 2))
    secrets = list(chain.secrets)
    secrets[second] = secrets[first]
    return replace(chain, secrets=tuple(secrets)).with_block(second, next_key=public_text(secrets[first])).text()


def foreign_field(rng: Random, chain: Chain) -> str:
    """A holder's block with a field of the issuer's or of nobody."""
    at = rng.randrange(1, len(chain.fields))
    names: Fields = {
        "v": 1,
        "grant": chain.fields[0]["grant"],
        "aud": AUDIENCE,
        "issued_at": NOW,
        "not_before": 0,
        "x": 1,
    }
    name = rng.choice(list(names))
    return chain.with_block(at, **{name: names[name]}).text()


def missing_field(rng: Random, chain: Chain) -> str:
    """A block without one of its required fields."""
    at = rng.randrange(len(chain.fields))
    return chain.with_block(at, **{rng.choice(["not_after", "next_key", "nonce"]): None}).text()


def nine_blocks(rng: Random, chain: Chain) -> str:
    """More blocks than a chain may have, all of them signed as they should be."""
    fields, secrets = list(chain.fields), list(chain.secrets)
    while len(fields) < 9:
        secrets.append(bytes([200 + len(fields)]) * 32)
        fields.append({"next_key": public_text(secrets[-1]), "nonce": "A" * 22, "not_after": fields[-1]["not_after"]})
    return replace(chain, fields=tuple(fields), secrets=tuple(secrets)).text()


INVALID: dict[str, Damage] = {
    one.__name__: one
    for one in (
        *(
            stripped,
            reordered,
            spliced,
            tampered,
            reencoded,
            extended,
            wrong_tail,
            wrong_signer,
            too_deep,
            depth_used_up,
        ),
        *(
            outliving,
            label_clash,
            cnf_clash,
            cnf_against_last_key,
            key_again,
            foreign_field,
            missing_field,
            nine_blocks,
        ),
    )
}

_PIECES = [b"\\", b'"', b",", b"{}", b"[]", b"0", b"-", b" ", b"true", b"\xc3\xa9", b"\x00", b"*", b"1e0", b"\\u0041"]
_VALUES: list[Any] = [0, 1, -1, 2**63, "", "a", [], {}, ["*"], ["a"], {"team": "a"}, {"jkt": "A" * 43}, NOW, UNTIL + 1]


def mutated(rng: Random, chain: Chain) -> str:
    """One to four small changes of fields or payload bytes, signed again by the right keys, so that they are looked at."""
    for _ in range(rng.randrange(1, 4)):
        chain = _changed_fields(rng, chain)
    payloads = chain.payloads()
    if rng.random() < 0.3:
        at = rng.randrange(len(payloads))
        raw, where = payloads[at], rng.randrange(len(payloads[at]))
        payloads[at] = raw[:where] + rng.choice(_PIECES) + raw[where + rng.randrange(4) :]
    text = assembled(chain.kid, chain.blocks(payloads), chain.tail())
    if rng.random() < 0.1:
        where = rng.randrange(len(text))
        text = text[:where] + rng.choice("Aa-_=+ \u00e9") + text[where + rng.randrange(2) :]
    return text


def _changed_fields(rng: Random, chain: Chain) -> Chain:
    at, other = rng.randrange(len(chain.fields)), rng.randrange(len(chain.fields))
    name = rng.choice([*chain.fields[other], "labels", "models", "delegate", "cnf"])
    value = chain.fields[other].get(name)
    match rng.randrange(6):
        case 0:
            return chain.with_block(at, **{name: None})
        case 1:
            return chain.with_block(at, **{name: value})
        case 2:
            return chain.with_block(at, **{name: rng.choice(_VALUES)})
        case 3:
            near = rng.choice([-(10**5), -3600, -1, 0, 1, 3600])
            return chain.with_block(at, not_after=rng.choice([NOW, UNTIL - 50]) + near)
        case 4:
            numbers = new_delegate(rng.randrange(9), rng.randrange(3), rng.choice([0, 1, 60, 3600, UNTIL]))
            return chain.with_block(at, delegate=numbers)
        case _:
            return replace(chain, has_tail=not chain.has_tail)
