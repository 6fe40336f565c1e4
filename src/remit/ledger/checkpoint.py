"""Checkpoints: the size and root of the ledger's tree, signed; C2SP's tlog-checkpoint in a signed note.

A key is text: `name+hash+base64` for who verifies, with `PRIVATE+KEY+` before it for who signs. The hash is of the name
and the public key, so a signature says which key it is of.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from remit.ledger.merkle import HASH_BYTES

MAX_NOTE_BYTES: Final = 64 * 1024
MAX_SIZE: Final = 2**63 - 1
_ED25519 = b"\x01"
_PRIVATE = "PRIVATE+KEY+"
_DASH = "\N{EM DASH} "
_NAME = re.compile(r"[!-*,-~]{1,200}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_MAX_SIGNATURES = 16
_KEY_HASH_BYTES = 4
_KEY_BYTES = 32


class CheckpointError(ValueError):
    """A note or a key cannot be used; the message says why, in one lower-case line."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The root over the first `size` entries of the ledger called `origin`."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """Who is believed: a name and a public key."""

    name: str
    key_hash: bytes
    public: bytes

    def text(self) -> str:
        return f"{self.name}+{self.key_hash.hex()}+{b64encode(_ED25519 + self.public).decode()}"


@dataclass(frozen=True, slots=True)
class SignerKey:
    """Who signs. Its text is a secret."""

    name: str
    seed: bytes = field(repr=False)

    def verifier(self) -> VerifierKey:
        public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()
        return VerifierKey(self.name, _key_hash(self.name, public), public)

    def text(self) -> str:
        return f"{_PRIVATE}{self.name}+{self.verifier().key_hash.hex()}+{b64encode(_ED25519 + self.seed).decode()}"


def signer_key(name: str, seed: bytes) -> SignerKey:
    """A key of that name. Raises CheckpointError for a name with spaces, `+` or other than ASCII."""
    if not _NAME.fullmatch(name):
        raise CheckpointError("a name is 1 to 200 printable ASCII characters without spaces and `+`")
    assert len(seed) == _KEY_BYTES
    return SignerKey(name, seed)


def read_signer_key(text: str) -> SignerKey:
    """Raises CheckpointError, which quotes nothing of it."""
    if not text.startswith(_PRIVATE):
        raise CheckpointError(f"the key does not begin with `{_PRIVATE}`")
    name, key_hash, seed = _key_parts(text.removeprefix(_PRIVATE))
    key = signer_key(name, seed)
    if key.verifier().key_hash != key_hash:
        raise CheckpointError("the key's hash is not that of its name and key")
    return key


def read_verifier_key(text: str) -> VerifierKey:
    """Raises CheckpointError."""
    if text.startswith(_PRIVATE):
        raise CheckpointError("this key signs, and is a secret; verifying takes the one of `remit ledger key`")
    name, key_hash, public = _key_parts(text)
    if _key_hash(name, public) != key_hash:
        raise CheckpointError("the key's hash is not that of its name and key")
    return VerifierKey(name, key_hash, public)


def sign(checkpoint: Checkpoint, key: SignerKey) -> str:
    """The note: the checkpoint's text, an empty line, and a signature."""
    text = checkpoint.text()
    signature = Ed25519PrivateKey.from_private_bytes(key.seed).sign(text.encode())
    stamp = b64encode(key.verifier().key_hash + signature).decode()
    return f"{text}\n{_DASH}{key.name} {stamp}\n"


def open_note(note: str, key: VerifierKey) -> Checkpoint:
    """The checkpoint of a note that this key has signed. Raises CheckpointError; other signatures are passed over."""
    text, signatures = _parts(note)
    _check_signed(text, signatures, key)
    lines = text.split("\n")
    if len(lines) < 4 or not lines[0] or not _SIZE.fullmatch(lines[1]):
        raise CheckpointError("the note is not a checkpoint: origin, size and root, a line each")
    size, root = int(lines[1]), _base64(lines[2])
    if size > MAX_SIZE or len(root) != HASH_BYTES:
        raise CheckpointError("the note's size or root is out of range")
    return Checkpoint(lines[0], size, root)


def verify_text(note: str, key: VerifierKey) -> str:
    """The text of any note that this key has signed. Raises CheckpointError."""
    text, signatures = _parts(note)
    _check_signed(text, signatures, key)
    return text


def notes_in(log: str) -> Iterator[str]:
    """The notes of a log, one after the other with an empty line between. Raises CheckpointError at a broken one.

    A note's text has no empty line, so every second one ends a note.
    """
    blocks = log.removesuffix("\n").split("\n\n") if log.strip("\n") else []
    for at in range(0, len(blocks), 2):
        if at + 1 == len(blocks):
            raise CheckpointError("the last note has no signature")
        note = f"{blocks[at]}\n\n{blocks[at + 1]}\n"
        _parts(note)
        yield note


def _parts(note: str) -> tuple[str, list[str]]:
    try:
        size = len(note.encode())
    except UnicodeEncodeError:
        raise CheckpointError("the note is not Unicode") from None
    if size > MAX_NOTE_BYTES:
        raise CheckpointError(f"the note is longer than {MAX_NOTE_BYTES:,} bytes")
    head, middle, tail = note.partition("\n\n")
    signatures = tail.split("\n")
    if not middle or not head or signatures.pop() != "" or not 1 <= len(signatures) <= _MAX_SIGNATURES:
        raise CheckpointError("not a signed note: a text, an empty line, and at least one signature")
    if not all(one.startswith(_DASH) for one in signatures):
        raise CheckpointError("the note has a line that is not a signature after its empty line")
    return f"{head}\n", signatures


def _check_signed(text: str, signatures: list[str], key: VerifierKey) -> None:
    """At least one signature is of this key, and every one that says so is good."""
    good = False
    for line in signatures:
        name, _, stamp = line.removeprefix(_DASH).partition(" ")
        raw = _base64(stamp)
        if name != key.name or raw[:_KEY_HASH_BYTES] != key.key_hash:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(raw[_KEY_HASH_BYTES:], text.encode())
        except InvalidSignature:
            raise CheckpointError(f"the signature of `{name}` is not of this text") from None
        good = True
    if not good:
        raise CheckpointError(f"the note has no signature of `{key.name}` by key {key.key_hash.hex()}")


def _key_parts(text: str) -> tuple[str, bytes, bytes]:
    parts = text.split("+", 2)
    if len(parts) != 3 or not _NAME.fullmatch(parts[0]) or not re.fullmatch(r"[0-9a-f]{8}", parts[1]):
        raise CheckpointError("not a key: `name+hash+base64`")
    raw = _base64(parts[2])
    if raw[:1] != _ED25519 or len(raw) != _KEY_BYTES + 1:
        raise CheckpointError("not an Ed25519 key")
    return parts[0], bytes.fromhex(parts[1]), raw[1:]


def _key_hash(name: str, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:_KEY_HASH_BYTES]


def _base64(text: str) -> bytes:
    """Standard base64 in its one form."""
    try:
        raw = b64decode(text.encode("ascii"), validate=True)
    except ValueError:  # UnicodeEncodeError and binascii.Error are
        raise CheckpointError("not base64") from None
    if b64encode(raw).decode() != text:
        raise CheckpointError("not base64 in its one form")
    return raw
