"""Capabilities for tests that commands do not make yet: bound to keys and certificates, and handed on."""

import secrets
from dataclasses import replace
from typing import Any

from remit.bootstrap import load_or_create_issuer_key
from remit.capabilities.encoding import Frame, decode_token, encode_token
from remit.capabilities.issuer_keys import issuer_key_of
from remit.capabilities.model import Appended, Block0, Confirmation, Delegate, HolderBlock, Minted
from remit.capabilities.rules import append_block, mint_block0, public_key_of
from remit.grants.tree import Tree
from tests.system.harness import System


def minted(system: System, path: str, *, next_key: bytes, life_seconds: int = 600, **more: Any) -> Minted:
    """An issuer's block for a grant with no secret in its token, signed as the authority signs."""
    system.authority.keys()  # makes the issuer's key known
    issuer = load_or_create_issuer_key(system.settings.data_dir)
    with system.authority.repository.read() as reads:
        leaf = Tree(reads.load_tree()).find(path)
    assert leaf is not None
    second = int(system.authority.clock.now().timestamp())
    # What a test says of these goes before what is usual.
    issued = {"issued_at": second, "not_before": second - 60, "delegate": Delegate(7, 64, 3600), **more}
    block = Block0(
        grant=leaf.id,
        tenant=path.partition("/")[0],
        epoch=leaf.epoch,
        audience=system.settings.gateway.audience,
        not_after=second + life_seconds,
        next_key=next_key,
        nonce=secrets.token_bytes(16),
        **issued,
    )
    return mint_block0(issuer, issuer_key_of(issuer), block, None)


def bearer(system: System, path: str, confirmation: Confirmation | None = None, **more: Any) -> str:
    """A capability with its secret in it, which may demand a proof all the same."""
    secret = secrets.token_bytes(32)
    block = minted(system, path, next_key=public_key_of(secret), confirmation=confirmation, **more)
    return with_secret(block.token, secret)


def with_secret(token: str, secret: bytes) -> str:
    """The same chain as a bearer's."""
    frame = decode_token(token)
    assert isinstance(frame, Frame)
    return encode_token(replace(frame, bearer_secret=secret))


def handed_to(token: str, next_key: bytes, not_after: int, signing_secret: bytes, **more: Any) -> str:
    """The chain with a holder's block that belongs to `next_key`, without a secret."""
    block = HolderBlock(not_after=not_after, next_key=next_key, nonce=secrets.token_bytes(16), **more)
    made = append_block(token, block, None, signing_secret=signing_secret)
    assert isinstance(made, Appended), made
    return made.token
