"""Narrower capabilities from a capability: offline, no authority is asked."""

import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from remit.capabilities.encoding import UnencodableError, decode_base64url
from remit.capabilities.model import CapabilityProblem, Delegate, HolderBlock, Limit, Verified
from remit.kernel.clock import SystemClock
from remit.sdk.capability import Capability, as_capability, instant_of
from remit.sdk.errors import CapabilityError
from remit.sdk.terms import limits_of, names_of, seconds_of

DEFAULT_TTL = "10m"
_KEY_BYTES = 32


def attenuate(
    capability: Capability | str,
    *,
    usd: str | int | None = None,
    tokens: int | None = None,
    requests: int | None = None,
    per: str = "once",
    limits: Iterable[str | Limit] = (),
    models: Iterable[str] | None = None,
    surfaces: Iterable[str] | None = None,
    ttl: str | int | timedelta | None = None,
    expires_at: datetime | None = None,
    labels: Mapping[str, str] | None = None,
    max_depth: int | None = None,
    max_children: int | None = None,
    max_ttl: str | int | timedelta | None = None,
    public_key: bytes | str | None = None,
    private_key: bytes | None = None,
    strict: bool = False,
    now: datetime | None = None,
) -> Capability:
    """A capability that may do less: one more block behind those of the given one, signed here, no network needed.

    What is asked for is narrowed by every block before it, whatever it says: it can ask for more, and will not get it.
    `usd` is a decimal text of dollars, or an integer of nano-dollars, never a float; `usd`, `tokens` and `requests` are
    per `per` (`once`, `day`, `week`, `month`, `quarter`); further `limits` are texts such as `0.50 usd per day`. It lives for
    `ttl` (`90s`, `10m`, `2h`, `7d`, or seconds; ten minutes if neither is given) or until `expires_at`, cut to what the parent
    allows, unless `strict`: then more is an error. `labels` may add names and change none. `max_depth`, `max_children` and
    `max_ttl` bound what may be handed on in turn.

    With `public_key` (Ed25519, 32 bytes or base64url) the result carries no secret: its holder proves possession of the
    other half. `private_key` (32 bytes) is that other half, where the given capability carries no secret.

    Raises CapabilityError (see there), TypeError for a float and other mistakes of type.
    """
    parent = as_capability(capability)
    authority = parent.read()
    at = SystemClock().now() if now is None else now
    next_secret = None if public_key is not None else secrets.token_bytes(_KEY_BYTES)
    # Only what signs needs the cryptography package, which takes longer to load than all of this.
    from remit.capabilities.rules import append_block, public_key_of

    block = HolderBlock(
        not_after=_not_after(authority, ttl, expires_at, at, strict=strict),
        next_key=_key_of(public_key) if next_secret is None else public_key_of(next_secret),
        nonce=secrets.token_bytes(16),
        limits=limits_of(usd, tokens, requests, per, limits),
        models=names_of(models, "models"),
        surfaces=names_of(surfaces, "surfaces"),
        labels={name: text for name, text in _labels(labels).items() if authority.labels.get(name) != text},
        delegate=_delegate(authority.delegate, max_depth, max_children, max_ttl),
    )
    try:
        made = append_block(parent.token, block, next_secret, signing_secret=private_key)
    except UnencodableError as error:
        raise CapabilityError("terms_invalid", str(error)) from None
    if isinstance(made, CapabilityProblem):
        raise CapabilityError(made.code, made.reason)
    return Capability(made.token)


def _not_after(
    authority: Verified,
    ttl: str | int | timedelta | None,
    expires_at: datetime | None,
    now: datetime,
    *,
    strict: bool,
) -> int:
    """The last second, cut to the parent's own end and to the longest life it gives a child."""
    if ttl is not None and expires_at is not None:
        raise TypeError("give `ttl` or `expires_at`, not both")
    if now.tzinfo is None or (expires_at is not None and expires_at.tzinfo is None):
        raise TypeError("instants are aware: a datetime without a time zone does not say when")
    second = int(now.timestamp())
    if authority.not_after <= second:
        raise CapabilityError("expired", f"the capability expired at {instant_of(authority.not_after).isoformat()}")
    wanted = (
        second + seconds_of(DEFAULT_TTL if ttl is None else ttl) if expires_at is None else int(expires_at.timestamp())
    )
    if wanted <= second:
        raise CapabilityError("terms_invalid", "`expires_at` lies in the past")
    allowed = min(authority.not_after, second + authority.delegate.max_ttl_seconds)
    if strict and wanted > allowed:
        raise CapabilityError("ttl_too_long", f"the capability allows at most {instant_of(allowed).isoformat()}")
    return min(wanted, allowed)


def _labels(labels: Mapping[str, str] | None) -> Mapping[str, str]:
    for name, text in (labels or {}).items():
        if not isinstance(text, str):
            raise TypeError(f"label `{name}` is a {type(text).__name__}: labels are texts")
    return labels or {}


def _delegate(
    parent: Delegate, max_depth: int | None, max_children: int | None, max_ttl: str | int | timedelta | None
) -> Delegate | None:
    if max_depth is None and max_children is None and max_ttl is None:
        return None
    return Delegate(
        max(0, parent.max_depth - 1) if max_depth is None else max_depth,
        parent.max_children if max_children is None else max_children,
        parent.max_ttl_seconds if max_ttl is None else 0 if max_ttl == 0 else seconds_of(max_ttl),
    )


def _key_of(given: bytes | str | None) -> bytes:
    raw = decode_base64url(given) if isinstance(given, str) else given
    if not isinstance(raw, bytes) or len(raw) != _KEY_BYTES:
        raise CapabilityError(
            "terms_invalid", "`public_key` is an Ed25519 public key of 32 bytes, as such or in base64url"
        )
    return raw
