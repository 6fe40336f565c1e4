"""Capabilities for the SDK's tests, signed by a key that is known here."""

import secrets
from datetime import UTC, datetime
from typing import Any

from remit.capabilities.model import Block0, Delegate, Limit, Verified, issuer_key_ring
from remit.capabilities.rules import mint_block0, public_key_of, verify
from remit.sdk import Capability
from tests.capabilities.vectors import AUDIENCE, ISSUER, KEY, MINIMAL

NOW = datetime(2026, 11, 17, 12, tzinfo=UTC)
SECOND = int(NOW.timestamp())
RING = issuer_key_ring([KEY])


def capability(**changes: Any) -> Capability:
    """A fresh bearer's capability: $5.00 once, a day to live, three levels to hand on."""
    secret = secrets.token_bytes(32)
    terms: dict[str, Any] = {
        "grant": MINIMAL.grant,
        "tenant": "acme",
        "epoch": 1,
        "audience": AUDIENCE,
        "issued_at": SECOND - 60,
        "not_before": SECOND - 60,
        "not_after": SECOND + 86_400,
        "delegate": Delegate(max_depth=3, max_children=4, max_ttl_seconds=3600),
        "limits": (Limit("usd", 5_000_000_000, "once"),),
    }
    block = Block0(**{**terms, **changes, "next_key": public_key_of(secret), "nonce": secrets.token_bytes(16)})
    return Capability(mint_block0(ISSUER, KEY, block, secret).token)


def verified(made: Capability, now: datetime = NOW) -> Verified:
    """What a gateway makes of it; fails where that is a problem."""
    found = verify(made.token, RING, AUDIENCE, now)
    assert isinstance(found, Verified), found
    return found
