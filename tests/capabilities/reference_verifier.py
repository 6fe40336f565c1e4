"""A second verifier, written from docs/reference/token-format.md alone: no import of the code it is compared with.

It parses canonical JSON by its own strict grammar (the product decodes, encodes again and compares) and walks the
body by slices. Chains follow the page's rules in the page's order. Answers are plain tuples: (result, {...} or None).
"""

import base64
import hashlib
import re
from itertools import pairwise
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
VALUES = {letter: value for value, letter in enumerate(LETTERS)}
PLAIN = re.compile(r'[^"\\\x00-\x1f]+')
NAME = r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}"
YEAR_9999 = 253402300799
UNITS = {"usd": "nanousd", "tokens": "tokens", "requests": "requests"}
REQUIRED = [
    *("v", "grant", "tenant", "epoch", "aud", "issued_at"),
    *("not_before", "not_after", "delegate", "next_key", "nonce"),
]
LATER_REQUIRED = ["not_after", "next_key", "nonce"]
OPTIONAL = ["limits", "models", "surfaces", "labels", "cnf"]
SHORT_ESCAPES = {'"': '"', "\\": "\\", "b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


class InvalidTokenError(Exception):
    """The token is invalid."""


def need(condition: object) -> None:
    if not condition:
        raise InvalidTokenError


def base64url(text: str) -> bytes:
    need(len(text) % 4 != 1)
    try:
        bits = [VALUES[letter] for letter in text + "A" * (-len(text) % 4)]
    except KeyError:
        raise InvalidTokenError from None
    fours = zip(bits[::4], bits[1::4], bits[2::4], bits[3::4], strict=True)
    out = b"".join((a << 18 | b << 12 | c << 6 | d).to_bytes(3, "big") for a, b, c, d in fours)
    size = len(text) * 3 // 4
    need(not any(out[size:]))
    return out[:size]


class Json:
    """Recursive descent over the canonical grammar only."""

    def __init__(self, payload: bytes) -> None:
        try:
            self.text = payload.decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidTokenError from None
        self.at = 0
        self.containers = 0

    def document(self) -> dict[str, Any]:
        value = self.mapping(8)
        need(self.at == len(self.text))
        return value

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def eat(self, expected: str) -> None:
        need(self.text.startswith(expected, self.at))
        self.at += len(expected)

    def value(self, depth: int) -> Any:
        first = self.peek()
        if first == '"':
            return self.string()
        if first == "{":
            return self.mapping(depth)
        if first == "[":
            return self.sequence(depth)
        number = re.compile(r"0|-?[1-9][0-9]*").match(self.text, self.at)
        if number is None:
            raise InvalidTokenError
        self.at = number.end()
        need(len(number[0]) <= 20)
        need(-(2**63) <= int(number[0]) < 2**63)
        return int(number[0])

    def mapping(self, depth: int) -> dict[str, Any]:
        self.containers += 1
        need(depth > 0 and self.containers <= 64)
        self.eat("{")
        out: dict[str, Any] = {}
        last: bytes | None = None
        while self.peek() != "}":
            if last is not None:
                self.eat(",")
            key = self.string()
            need(last is None or last < key.encode())
            self.eat(":")
            out[key] = self.value(depth - 1)
            last = key.encode()
        self.eat("}")
        return out

    def sequence(self, depth: int) -> list[Any]:
        self.containers += 1
        need(depth > 0 and self.containers <= 64)
        self.eat("[")
        out: list[Any] = []
        while self.peek() != "]":
            if out:
                self.eat(",")
            out.append(self.value(depth - 1))
        self.eat("]")
        return out

    def string(self) -> str:
        self.eat('"')
        out = []
        while (letter := self.peek()) != '"':
            if plain := PLAIN.match(self.text, self.at):
                self.at = plain.end()
                out.append(plain[0])
                continue
            need(letter == "\\")
            self.at += 1
            out.append(self.escape())
        self.eat('"')
        return "".join(out)

    def escape(self) -> str:
        code = self.peek()
        self.at += 1
        if code in SHORT_ESCAPES and code:
            return SHORT_ESCAPES[code]
        need(code == "u")
        digits = self.text[self.at : self.at + 4]
        need(re.fullmatch("00[01][0-9a-f]", digits))
        self.at += 4
        letter = chr(int(digits, 16))
        need(letter not in "\b\t\n\f\r")
        return letter


def integer(value: Any, low: int, high: int) -> None:
    need(type(value) is int and low <= value <= high)


def text(value: Any, pattern: str) -> None:
    need(isinstance(value, str) and re.fullmatch(pattern, value))


def raw(value: Any, size: int) -> bytes:
    need(isinstance(value, str) and len(base64url(value)) == size)
    return base64url(value)


def ascending(values: Any) -> None:
    need(isinstance(values, list) and values)
    need(all(a < b for a, b in pairwise(values)))


def check_block0(fields: dict[str, Any]) -> None:
    need(set(REQUIRED) <= set(fields) <= set(REQUIRED + OPTIONAL))
    integer(fields["v"], 1, 1)
    text(fields["grant"], "grant_[0-7][0-9a-hjkmnp-tv-z]{25}")
    text(fields["tenant"], NAME)
    text(fields["aud"], NAME)
    integer(fields["epoch"], 0, 2**63 - 1)
    for instant in ("issued_at", "not_before", "not_after"):
        integer(fields[instant], 0, YEAR_9999)
    need(fields["issued_at"] < fields["not_after"] and fields["not_before"] < fields["not_after"])
    check_common(fields)


def check_later(fields: dict[str, Any]) -> None:
    need(set(LATER_REQUIRED) <= set(fields) <= set(LATER_REQUIRED + OPTIONAL + ["delegate"]))
    integer(fields["not_after"], 0, YEAR_9999)
    check_common(fields)


def check_common(fields: dict[str, Any]) -> None:
    raw(fields["next_key"], 32)
    raw(fields["nonce"], 16)
    if "delegate" in fields:
        delegate = fields["delegate"]
        need(isinstance(delegate, dict) and set(delegate) == {"max_depth", "max_children", "max_ttl"})
        integer(delegate["max_depth"], 0, 7)
        integer(delegate["max_children"], 0, 2**31 - 1)
        integer(delegate["max_ttl"], 0, YEAR_9999)
    if "limits" in fields:
        check_limits(fields["limits"])
    for name, pattern in (("models", rf"({NAME})?\*|{NAME}"), ("surfaces", "[a-z0-9][a-z0-9._:/-]{0,62}")):
        if name in fields:
            need(isinstance(fields[name], list))
            for one in fields[name]:
                text(one, pattern)
            ascending(fields[name])
    if "labels" in fields:
        need(isinstance(fields["labels"], dict) and fields["labels"])
        for key, value in fields["labels"].items():
            text(key, "[a-z][a-z0-9_.-]{0,62}")
            need(isinstance(value, str) and 1 <= len(value) <= 128)
            need(all(ord(c) > 0x1F and not 0x7F <= ord(c) <= 0x9F for c in value))
    if "cnf" in fields:
        need(isinstance(fields["cnf"], dict) and len(fields["cnf"]) == 1)
        ((kind, named),) = fields["cnf"].items()
        need(kind in ("jkt", "x5t#S256", "spiffe"))
        if kind == "spiffe":
            text(named, "spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)+")
        else:
            raw(named, 32)


def check_limits(limits: Any) -> None:
    need(isinstance(limits, list))
    for limit in limits:
        need(isinstance(limit, dict) and set(limit) == {"dimension", "amount", "unit", "period"})
        need(isinstance(limit["dimension"], str) and limit["dimension"] in UNITS)
        need(limit["unit"] == UNITS[limit["dimension"]])
        need(limit["period"] in ("once", "day", "week", "month", "quarter"))
        integer(limit["amount"], 0, 2**63 - 1)
    ascending([(limit["dimension"], limit["period"]) for limit in limits])


def split(body: bytes) -> tuple[str, list[tuple[bytes, bytes]], bytes | None]:
    """The kid, the blocks as (payload, signature), and the secret or None."""
    need(len(body) > 0)
    kid, rest = body[1 : 1 + body[0]], body[1 + body[0] :]
    need(len(kid) == body[0] and re.fullmatch(rb"[a-z0-9_-]{1,32}", kid))
    need(rest and 1 <= rest[0] <= 8)
    count, rest = rest[0], rest[1:]
    blocks = []
    for _ in range(count):
        need(len(rest) >= 2)
        size = rest[0] * 256 + rest[1]
        need(size >= 1 and len(rest) >= 2 + size + 64)
        blocks.append((rest[2 : 2 + size], rest[2 + size : 66 + size]))
        rest = rest[66 + size :]
    need(rest == b"\0" or (len(rest) == 33 and rest[0] == 1))
    return kid.decode(), blocks, rest[1:] or None


def covers(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == name


def intersection(lists: list[list[str]], *, patterns: bool) -> list[str] | None:
    """What all of the lists allow, as a list of the same kind; None where there is no list, [] where nothing is left."""
    if not lists:
        return None
    left = lists[0]
    for other in lists[1:]:
        if patterns:
            both = {b for a in left for b in other if covers(a, b)} | {a for a in left for b in other if covers(b, a)}
        else:
            both = set(left) & set(other)
        left = sorted(both)
    if patterns:
        left = [a for a in left if not any(b != a and covers(b, a) for b in left)]
    return left


def chain_rules(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """The effective fields of well-formed blocks; the numbers in comments are the page's rules."""
    narrowed = dict(blocks[0]["delegate"])
    not_before = blocks[0]["not_before"]
    labels = dict(blocks[0].get("labels", {}))
    keys = {blocks[0]["next_key"]}
    for parent, block in pairwise(blocks):
        need(0 not in narrowed.values())  # 1
        ttl = narrowed["max_ttl"]
        narrowed["max_depth"] -= 1  # 2
        for name, own in block.get("delegate", {}).items():
            narrowed[name] = min(narrowed[name], own)
        need(block["not_after"] <= parent["not_after"])  # 3
        need(not set(labels) & set(block.get("labels", {})))  # 4
        need(block["next_key"] not in keys)  # 5
        keys.add(block["next_key"])
        labels |= block.get("labels", {})
        not_before = max(not_before, block["not_after"] - ttl - 60)
    return {
        "not_before": not_before,
        "not_after": blocks[-1]["not_after"],
        "delegate": narrowed,
        "labels": labels,
        "limits": [block.get("limits", []) for block in blocks],
        "models": intersection([block["models"] for block in blocks if "models" in block], patterns=True),
        "surfaces": intersection([block["surfaces"] for block in blocks if "surfaces" in block], patterns=False),
    }


def confirmations(blocks: list[dict[str, Any]], *, has_tail: bool) -> dict[str, str]:
    """What has to be proven, by kind."""
    named = [next(iter(block["cnf"].items())) for block in blocks if "cnf" in block]
    if not has_tail and "cnf" not in blocks[-1]:
        jwk = '{"crv":"Ed25519","kty":"OKP","x":"' + blocks[-1]["next_key"] + '"}'
        digest = hashlib.sha256(jwk.encode()).digest()
        named.append(("jkt", base64.urlsafe_b64encode(digest).decode().rstrip("=")))
    need(len({kind for kind, _ in named}) == len(set(named)))
    return dict(named)


def signatures(
    issuer_key: bytes, blocks: list[tuple[bytes, bytes]], fields: list[dict[str, Any]], secret: bytes | None
) -> list[str]:
    """Checks every signature and the tail; the ids."""
    ids, before, key = [], bytes(32), issuer_key
    for (payload, signature), one in zip(blocks, fields, strict=True):
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, b"rmt1\0" + before + payload)
        except (InvalidSignature, ValueError):
            raise InvalidTokenError from None
        before = hashlib.sha256(b"rmt1-id\0" + before + payload).digest()
        ids.append(before.hex())
        key = raw(one["next_key"], 32)
    if secret is not None:
        need(Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw() == key)
    return ids


def verify(
    token: str, issuer_keys: dict[str, tuple[bytes, int | None]], audience: str, now: int
) -> tuple[str, dict[str, Any] | None]:
    """`issuer_keys` maps kid to (public key, cut-off or None); `now` is whole Unix seconds.

    The content stands beside `valid` and `proof_required`: ids, the chain's effective fields and what is to be proven.
    """
    try:
        need(len(token) <= 4096 and token[:5] == "rmt1.")
        kid, blocks, secret = split(base64url(token[5:]))
        fields = [Json(payload).document() for payload, _ in blocks]
        check_block0(fields[0])
        for later in fields[1:]:
            check_later(later)
        need(kid in issuer_keys)
        public_key, cut_off = issuer_keys[kid]
        need(cut_off is None or fields[0]["issued_at"] >= cut_off)
        need(fields[0]["aud"] == audience)
        ids = signatures(public_key, blocks, fields, secret)
        effective = chain_rules(fields)
        proofs = confirmations(fields, has_tail=secret is not None)
    except InvalidTokenError:
        return "invalid", None
    if now < effective["not_before"]:
        return "not_yet_valid", None
    if now >= effective["not_after"]:
        return "expired", None
    content = {"kid": kid, "block_ids": ids, "payloads": [payload.decode() for payload, _ in blocks]}
    content |= {"grant": fields[0]["grant"], "epoch": fields[0]["epoch"]} | effective | {"confirmations": proofs}
    return ("proof_required" if proofs else "valid"), content
