"""The published vectors of chains: every rule with tokens that keep it and tokens that break it.

Results are written here by hand. Ids and effective fields come from the second verifier; the product is compared
with the published file.
"""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.capabilities import reference_verifier
from tests.capabilities.chains import (
    AUDIENCE,
    ISSUED,
    ISSUER_SECRET,
    NOW,
    UNTIL,
    Chain,
    assembled,
    canonical,
    new_delegate,
    private,
    public_text,
    text64,
)

Made = tuple[str, str, str, str, int]
"""Name, result, text, why, instant."""

SECRETS = (bytes([4]) * 32, *(bytes([number]) * 32 for number in range(33, 40)))
STRANGER = bytes([3]) * 32
THUMB = text64(bytes([5]) * 32)
OTHER_THUMB = text64(bytes([6]) * 32)
SPIFFE = "spiffe://acme.example/agent"


def _chain(length: int) -> Chain:
    """Block_0, and children of it that each end a minute earlier."""
    first = {
        "v": 1,
        "grant": "grant_01k9zsmb9rtv3hqe7x2fwy5dcn",
        "tenant": "acme",
        "epoch": 7,
        "aud": AUDIENCE,
        "issued_at": ISSUED,
        "not_before": ISSUED,
        "not_after": UNTIL,
        "delegate": new_delegate(7, 16, 5400),
        "models": ["claude-*", "gpt-5*"],
        "surfaces": ["models", "openai.chat"],
        "labels": {"team": "search"},
        "limits": [_usd(500_000_000)],
    }
    fields = [first, *({"not_after": NOW + 3600 - 60 * number} for number in range(1, length))]
    common = [{"next_key": public_text(SECRETS[n]), "nonce": text64(bytes([n]) * 16)} for n in range(length)]
    return Chain(tuple(one | more for one, more in zip(fields, common, strict=True)), SECRETS[:length])


def _usd(amount: int) -> dict[str, Any]:
    return {"dimension": "usd", "amount": amount, "unit": "nanousd", "period": "once"}


TWO, THREE, EIGHT = _chain(2), _chain(3), _chain(8)


def chain_vectors(issuer_keys: dict[str, tuple[bytes, int | None]]) -> list[dict[str, Any]]:
    """The vectors as they are published; fails where the second verifier does not give the result written here."""
    items = []
    for name, due, text, why, now in (*_restrictions(), *_windows(), *_delegation(), *_proofs(), *_signed(), *_forms()):
        result, content = reference_verifier.verify(text, issuer_keys, AUDIENCE, now)
        assert result == due, (name, result)
        expect = {"result": due} | ({} if content is None else _shown(content))
        items.append({"name": f"chain-{name}", "why": why, "token": text, "now": now, "expect": expect})
    return items


def _shown(content: dict[str, Any]) -> dict[str, Any]:
    names = ("not_before", "not_after", "delegate", "labels", "limits", "models", "surfaces", "confirmations")
    effective = {name: content[name] for name in names}
    return {"block_ids": content["block_ids"], "payloads": content["payloads"], "effective": effective}


def _restrictions() -> Iterator[Made]:
    def valid(name: str, chain: Chain, why: str) -> Made:
        return name, "valid", chain.text(), why, NOW

    yield valid("two", TWO, "a child with required fields only")
    yield valid("three", THREE, "a grandchild")
    yield valid("eight", EIGHT, "the longest chain")
    yield valid("models-narrower", TWO.with_block(1, models=["gpt-5.2"]), "a list within the parent's")
    yield valid("models-wider", TWO.with_block(1, models=["*"]), "a wider list widens nothing")
    yield valid("models-wider-prefix", THREE.with_block(1, models=["gpt-*"]), "of two prefixes the longer one is left")
    yield valid("models-disjoint", TWO.with_block(1, models=["mistral-*"]), "nothing in common: no model is allowed")
    three = THREE.with_block(1, models=["gpt-5.2"]).with_block(2, models=["claude-*", "gpt-5*"])
    yield valid("models-back", three, "a grandchild does not get back what its parent gave up")
    yield valid(
        "models-first", TWO.with_block(0, models=None).with_block(1, models=["a"]), "the issuer restricts nothing"
    )
    yield valid("surfaces-wider", TWO.with_block(1, surfaces=["models", "openai.embeddings"]), "only what both allow")
    yield valid("surfaces-disjoint", TWO.with_block(1, surfaces=["openai.embeddings"]), "nothing in common")
    yield valid("limit-smaller", TWO.with_block(1, limits=[_usd(5)]), "both limits hold, each with its block's id")
    yield valid(
        "limit-larger", TWO.with_block(1, limits=[_usd(2**63 - 1)]), "a larger limit leaves the parent's in force"
    )
    yield valid("limit-zero", TWO.with_block(1, limits=[_usd(0)]), "a child that may spend nothing")
    yield valid("labels-added", THREE.with_block(2, labels={"run": "42"}), "a holder adds a label")
    for name, number, labels, why in (
        ("label-again", 1, {"team": "ads"}, "a holder overrides the issuer's label"),
        ("label-same", 1, {"team": "search"}, "the same label with the same value"),
        ("label-of-grandparent", 2, {"run": "1", "team": "ads"}, "a grandchild overrides the issuer's label"),
    ):
        yield name, "invalid", THREE.with_block(number, labels=labels).text(), why, NOW
    again = THREE.with_block(1, labels={"run": "1"}).with_block(2, labels={"run": "2"})
    yield "label-of-parent", "invalid", again.text(), "a grandchild overrides its parent's label", NOW


def _windows() -> Iterator[Made]:
    end = NOW + 3540
    begin = end - 5400 - 60
    yield "last-second", "valid", TWO.text(), "one second before the child's end", end - 1
    yield "expired", "expired", TWO.text(), "the child's end, while the parent is valid", end
    yield "ttl-reached", "valid", TWO.text(), "the child's end is max_ttl and 60 seconds away", begin
    early = "the child's end is one second further away than max_ttl and 60 seconds"
    yield "ttl-exceeded", "not_yet_valid", TWO.text(), early, begin - 1
    long = TWO.with_block(1, not_after=UNTIL)
    yield "expiry-equal", "valid", long.text(), "the child ends with its parent", UNTIL - 1
    yield (
        "ttl-long",
        "not_yet_valid",
        long.text(),
        "the child would live for a day, of which its parent allows an hour and a half",
        NOW,
    )
    short = THREE.with_block(1, delegate=new_delegate(7, 16, 60))
    yield "ttl-narrowed", "not_yet_valid", short.text(), "a grandchild bound by its parent's own max_ttl", NOW
    end = NOW + 3480
    yield "ttl-narrowed-reached", "valid", short.text(), "the same at its first second", end - 120
    widened = THREE.with_block(1, delegate=new_delegate(7, 16, 10**6), not_after=UNTIL).with_block(2, not_after=UNTIL)
    yield "ttl-widened", "not_yet_valid", widened.text(), "a parent's own max_ttl is larger than its parent's", NOW
    empty = TWO.with_block(0, not_before=UNTIL - 10)
    yield "window-empty", "not_yet_valid", empty.text(), "the child ends before the issuer's block begins", NOW
    yield "window-empty-later", "expired", empty.text(), "and is expired once it has begun", UNTIL - 10
    for name, chain, why in (
        ("outlives-parent", TWO.with_block(1, not_after=UNTIL + 1), "one second longer than the issuer's block"),
        ("outlives-holder", THREE.with_block(2, not_after=NOW + 3541), "one second longer than its parent"),
    ):
        yield name, "invalid", chain.text(), why, NOW


def _delegation() -> Iterator[Made]:
    def at(chain: Chain, number: int, *numbers: int) -> Chain:
        return chain.with_block(number, delegate=new_delegate(*numbers))

    yield "depth-just", "valid", at(THREE, 0, 2, 1, 5400).text(), "two levels of two", NOW
    yield "depth-used-up", "invalid", at(THREE, 0, 1, 1, 5400).text(), "two levels of one", NOW
    yield "depth-0", "invalid", at(TWO, 0, 0, 16, 5400).text(), "max_depth 0 has no child", NOW
    yield "children-0", "invalid", at(TWO, 0, 7, 0, 5400).text(), "max_children 0 has no child", NOW
    yield "ttl-0", "invalid", at(TWO, 0, 7, 16, 0).text(), "max_ttl 0 has no child", NOW
    yield "holder-depth-0", "invalid", at(THREE, 1, 0, 16, 5400).text(), "a holder's max_depth 0 has no child", NOW
    yield "holder-children-0", "invalid", at(THREE, 1, 7, 0, 5400).text(), "a holder's max_children 0 has no child", NOW
    yield "holder-ttl-0", "invalid", at(THREE, 1, 7, 16, 0).text(), "a holder's max_ttl 0 has no child", NOW
    yield "delegate-last-0", "valid", at(THREE, 2, 0, 0, 0).text(), "the last block hands nothing on", NOW
    yield "delegate-narrower", "valid", at(THREE, 1, 3, 2, 5000).text(), "a holder hands on less", NOW
    yield "delegate-wider", "valid", at(THREE, 1, 7, 2**31 - 1, UNTIL).text(), "larger numbers widen nothing", NOW
    regained = at(at(at(_chain(4), 0, 7, 16, 5400), 1, 1, 16, 5400), 2, 7, 16, 5400)
    yield "depth-regained", "invalid", regained.text(), "a grandchild states more depth than it was given", NOW


def _proofs() -> Iterator[Made]:
    def bound(chain: Chain, *names: dict[str, str] | None) -> Chain:
        for number, cnf in enumerate(names):
            chain = chain.with_block(number, cnf=cnf)
        return chain

    def made(name: str, result: str, chain: Chain, why: str) -> Made:
        return name, result, chain.text(), why, NOW

    jkt, x5t, spiffe = {"jkt": THUMB}, {"x5t#S256": THUMB}, {"spiffe": SPIFFE}
    keyed = replace(THREE, has_tail=False)
    yield made("no-tail", "proof_required", keyed, "without a tail the last next_key is to be proven")
    yield made("cnf-first", "proof_required", bound(THREE, jkt), "two blocks without cnf do not undo the issuer's")
    yield made("cnf-middle", "proof_required", bound(THREE, None, x5t), "nor does one undo a holder's")
    yield made("cnf-last", "proof_required", bound(THREE, None, None, spiffe), "a bearer's tail proves no cnf")
    yield made("cnf-equal", "proof_required", bound(THREE, jkt, None, jkt), "the same key twice is proven once")
    yield made(
        "cnf-kinds", "proof_required", bound(THREE, jkt, x5t, spiffe), "one key of each kind: all are to be proven"
    )
    no_tail = bound(keyed, None, None, spiffe)
    yield made("cnf-no-tail", "proof_required", no_tail, "the last block's cnf stands in place of its next_key")
    yield made("cnf-early-no-tail", "proof_required", bound(keyed, spiffe), "an earlier block's cnf does not")
    jwk = b'{"crv":"Ed25519","kty":"OKP","x":"' + public_text(SECRETS[2]).encode() + b'"}'
    same = bound(keyed, {"jkt": _sha256_text(jwk)})
    yield made("cnf-is-last-key", "proof_required", same, "an earlier block's cnf is the last next_key itself")
    yield made(
        "cnf-against-last-key", "invalid", bound(keyed, jkt), "an earlier block names another key than the last one"
    )
    for kind, one, other in (
        ("jkt", THUMB, OTHER_THUMB),
        ("x5t#S256", THUMB, OTHER_THUMB),
        ("spiffe", SPIFFE, SPIFFE + "/x"),
    ):
        clash = bound(THREE, {kind: one}, None, {kind: other})
        yield made(
            f"cnf-clash-{kind[:3]}", "invalid", clash, "two keys of one kind: a thief of the tail names one more"
        )


def _sha256_text(raw: bytes) -> str:
    return text64(hashlib.sha256(raw).digest())


def _signed() -> Iterator[Made]:
    def invalid(name: str, text: str, why: str) -> Made:
        return name, "invalid", text, why, NOW

    blocks, tail = THREE.blocks(), THREE.tail()
    for name, number, signer, why in (
        ("signed-by-issuer", 1, ISSUER_SECRET, "a holder's block signed by the issuer's key"),
        ("signed-by-itself", 1, SECRETS[1], "a block signed by its own next_key"),
        ("signed-by-grandparent", 2, SECRETS[0], "a block signed by the next_key before its parent's"),
        ("signed-by-stranger", 2, STRANGER, "a block signed by nobody's key"),
        ("issuer-forged", 0, STRANGER, "the issuer's block signed by a stranger, the others well"),
    ):
        signers = THREE.signers()
        signers[number] = signer
        yield invalid(name, assembled(THREE.kid, THREE.blocks(signers=signers), tail), why)
    payload = THREE.payloads()[1]
    for name, signed in (
        ("no-previous-id", b"rmt1\0" + payload),
        ("zero-previous-id", b"rmt1\0" + bytes(32) + payload),
    ):
        framed = len(payload).to_bytes(2, "big") + payload + private(SECRETS[0]).sign(signed)
        text = assembled(THREE.kid, [blocks[0], framed, blocks[2]], tail)
        yield invalid(name, text, "signed over another input")
    yield invalid("stripped-first", assembled(THREE.kid, blocks[1:], tail), "the issuer's block is gone")
    yield invalid("stripped-middle", assembled(THREE.kid, [blocks[0], blocks[2]], tail), "the block between is gone")
    yield invalid("stripped-last", assembled(THREE.kid, blocks[:2], tail), "the last block is gone, its tail is there")
    proof = assembled(THREE.kid, blocks[:2], b"\0")
    yield (
        "stripped-without-tail",
        "proof_required",
        proof,
        "the last block and the tail are gone: the parent's key is asked for",
        NOW,
    )
    yield invalid(
        "reordered", assembled(THREE.kid, [blocks[0], blocks[2], blocks[1]], tail), "two blocks in the other order"
    )
    yield invalid("doubled", assembled(THREE.kid, [*blocks, blocks[2]], tail), "the last block twice")
    other = THREE.with_block(0, epoch=9).blocks()
    yield invalid(
        "spliced", assembled(THREE.kid, [other[0], *blocks[1:]], tail), "children of another block_0 of the same key"
    )
    yield invalid("spliced-later", assembled(THREE.kid, [*other[:2], blocks[2]], tail), "a grandchild of another chain")
    yield invalid("tail-of-parent", assembled(THREE.kid, blocks, b"\1" + SECRETS[1]), "the tail is the parent's")
    yield invalid("tail-of-stranger", assembled(THREE.kid, blocks, b"\1" + STRANGER), "the tail is nobody's")
    twin = replace(THREE, secrets=(*SECRETS[:2], SECRETS[1])).with_block(2, next_key=public_text(SECRETS[1]))
    yield invalid(
        "key-of-parent", twin.text(), "the parent's key again: the tail would fit a chain without the last block"
    )
    again = replace(THREE, secrets=(*SECRETS[:2], SECRETS[0])).with_block(2, next_key=public_text(SECRETS[0]))
    yield invalid("key-of-grandparent", again.text(), "the key of the block before the parent")
    late = replace(TWO, kid="95f21addda1c12a2376a5c9e")
    signers = [bytes([2]) * 32, SECRETS[0]]
    text = assembled(late.kid, late.blocks(signers=signers), late.tail())
    yield invalid("before-cut-off", text, "a chain whose issuer's block was signed before the cut-off")


def _forms() -> Iterator[Made]:
    def invalid(name: str, text: str, why: str) -> Made:
        return name, "invalid", text, why, NOW

    for name, value in (
        *(("v", 1), ("grant", THREE.fields[0]["grant"]), ("tenant", "acme"), ("epoch", 7), ("aud", AUDIENCE)),
        *(("issued_at", ISSUED), ("not_before", ISSUED), ("x", 1)),
    ):
        yield invalid(
            f"field-{name}", TWO.with_block(1, **{name: value}).text(), "a field that holders' blocks do not have"
        )
    for name in ("not_after", "next_key", "nonce"):
        yield invalid(f"missing-{name}", TWO.with_block(1, **{name: None}).text(), "a required field is missing")
    for name, changes in (
        ("models-empty", {"models": []}),
        ("labels-empty", {"labels": {}}),
        ("limits-unit", {"limits": [_usd(1) | {"unit": "usd"}]}),
        ("delegate-part", {"delegate": {"max_depth": 1}}),
        ("delegate-negative", {"delegate": new_delegate(-1)}),
        ("nonce-short", {"nonce": "A" * 20}),
        ("not-after-text", {"not_after": str(NOW)}),
        ("not-after-negative", {"not_after": -1}),
        ("cnf-two", {"cnf": {"jkt": THUMB, "spiffe": SPIFFE}}),
    ):
        yield invalid(f"form-{name}", TWO.with_block(1, **changes).text(), "a field out of its form")
    first, good = TWO.payloads()

    def payload(raw: bytes) -> str:
        return assembled(TWO.kid, TWO.blocks([first, raw]), TWO.tail())

    yield invalid("encoding-space", payload(good.replace(b":", b": ", 1)), "white space, signed like that")
    yield invalid("encoding-order", payload(_backwards(TWO.fields[1])), "keys out of order, signed like that")
    yield invalid("encoding-twice", payload(good[:-1] + b',"nonce":"AAAAAAAAAAAAAAAAAAAAAA"}'), "a key twice")
    swapped = replace(TWO, fields=(TWO.fields[1], TWO.fields[0]))
    yield invalid("block0-second", swapped.text(), "a holder's block first and an issuer's second")
    nine = replace(
        EIGHT,
        fields=(*EIGHT.fields, {"next_key": THUMB, "nonce": "A" * 22, "not_after": NOW + 60}),
        secrets=(*SECRETS, STRANGER),
    )
    yield invalid("nine", nine.text(), "a block more than there may be, well signed")
    body = base64.urlsafe_b64decode(TWO.text()[5:] + "==")
    yield invalid("count-1", "rmt1." + text64(body[:25] + b"\1" + body[26:]), "fewer blocks counted than there are")
    yield invalid("count-3", "rmt1." + text64(body[:25] + b"\3" + body[26:]), "more blocks counted than there are")


def _backwards(fields: dict[str, Any]) -> bytes:
    members = [canonical({name: fields[name]})[1:-1] for name in sorted(fields, reverse=True)]
    return b"{" + b",".join(members) + b"}"
