"""Capabilities for the cases: minted by the authority, attenuated offline by their holders."""

import os
import time
from typing import Any

from remit.capabilities.model import Appended, HolderBlock, Limit, Verified
from remit.capabilities.reading import inspect
from remit.capabilities.rules import append_block, public_key_of
from remit.grants.keys import NewKey
from tests.conformance.support import DIME
from tests.system.harness import ADMIN, System


def capability(system: System, path: str, **terms: Any) -> str:
    """A bearer capability of a grant, as `remit key create --token` prints it."""
    made = system.authority.keys().create(path, "agent", ADMIN, **terms)
    assert isinstance(made, NewKey) and made.token is not None, made
    return made.token


def child(token: str, dimes: int | None = None, *, seconds: int = 600, **terms: Any) -> str:
    """The same with one more block, which may spend that many dimes in all."""
    secret = os.urandom(32)
    if dimes is not None:
        terms["limits"] = (*terms.get("limits", ()), Limit("usd", dimes * DIME, "once"))
    parent = inspect(token)
    assert isinstance(parent, Verified), parent
    block = HolderBlock(
        not_after=min(parent.not_after, int(time.time()) + seconds),
        next_key=public_key_of(secret),
        nonce=os.urandom(16),
        **terms,
    )
    made = append_block(token, block, secret)
    assert isinstance(made, Appended), made
    return made.token


def block_ids(token: str) -> tuple[str, ...]:
    """The ids of a capability's blocks."""
    read = inspect(token)
    assert isinstance(read, Verified), read
    return read.block_ids
