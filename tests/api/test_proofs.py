"""The checkpoint and its proofs over HTTP: anybody with a token can verify, of entries they may see."""

from base64 import b64decode
from typing import Any

from remit.bootstrap import load_ledger_key
from remit.ledger.canonical import encode_entry
from remit.ledger.checkpoint import open_note
from remit.ledger.merkle import extends, includes, leaf_hash
from tests.api.document_ground import ENTRY
from tests.api.support import Caller, Plane, refused


def book(plane: Plane, path: str, name: str) -> str:
    """An entry of a grant."""
    plane.insert(ENTRY, {"id": name, "path": path})
    return name


def test_before_anything_is_sealed_there_is_nothing_to_prove(plane: Plane, admin: Caller, name: str) -> None:
    """It is said, not made up: no checkpoint and no proof, in a database that is new."""
    admin.made(name, 100)
    entry = book(plane, name, f"entry_{name}_first")
    refused(admin.get("/ledger/checkpoint"), 404, "no_checkpoint")
    refused(admin.get("/ledger/proofs/inclusion", entry=entry), 409, "not_provable")
    refused(admin.get("/ledger/proofs/consistency", from_size=1, to_size=1), 409, "not_provable")


def hashes(answer: dict[str, Any], key: str) -> Any:
    value = answer[key]
    return b64decode(value) if isinstance(value, str) else [b64decode(one) for one in value]


def test_an_answer_can_be_verified_without_trusting_it(plane: Plane, admin: Caller, name: str) -> None:
    """With the public key, the note leads to the root, the path from the entry to it, and from one size to the next."""
    admin.made(name, 100, owner=f"olga@{name}.example")
    owner, stranger = plane.caller(f"olga@{name}.example"), plane.caller(f"eve@{name}.example")
    entries = [book(plane, name, f"entry_{name}_{number}") for number in range(3)]
    first = plane.authority.sealer().seal()
    entries.append(book(plane, name, f"entry_{name}_4"))
    second = plane.authority.sealer().seal()
    assert first is not None and second is not None and second.size == first.size + 1
    signer = load_ledger_key(plane.authority.settings)
    assert signer is not None
    note = stranger.get("/ledger/checkpoint")
    assert note.headers["content-type"].startswith("text/plain")
    assert open_note(note.text, signer.verifier()) == second
    for entry in entries:
        proof = owner.get("/ledger/proofs/inclusion", entry=entry).json()
        leaf = leaf_hash(encode_entry(proof["entry"]))
        assert proof["entry"]["id"] == entry and hashes(proof, "leaf_hash") == leaf and proof["checkpoint"] == note.text
        assert includes(leaf, proof["index"], proof["size"], hashes(proof, "path"), second.root)
    old = owner.get("/ledger/proofs/inclusion", entry=entries[0], size=first.size).json()
    assert old["checkpoint"] is None and hashes(old, "root") == first.root
    grown = stranger.get("/ledger/proofs/consistency", from_size=first.size, to_size=second.size).json()
    assert hashes(grown, "from_root") == first.root
    assert extends(first.size, first.root, second.size, second.root, hashes(grown, "path"))
    refused(stranger.get("/ledger/proofs/inclusion", entry=entries[0]), 404, "unknown_entry")
    refused(owner.get("/ledger/proofs/inclusion", entry=entries[3], size=first.size), 409, "not_provable")
    refused(owner.get("/ledger/proofs/inclusion", entry="entry_x"), 404, "unknown_entry")
    refused(owner.get("/ledger/proofs/consistency", from_size=2, to_size=1), 409, "not_provable")
    refused(owner.get("/ledger/proofs/consistency", from_size=1, to_size=10**9), 409, "not_provable")
