"""What writes take: strict JSON bodies, read into the services' own types.

Amounts are integers: nano-USD, tokens or requests. Instants are ISO 8601 with an offset. Unknown fields are refused.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request
from litestar.datastructures import State
from msgspec import UNSET, Meta, UnsetType

from remit.api.problems import refuse
from remit.capabilities.encoding import Invalid, decode_base64url
from remit.capabilities.model import Confirmation, Delegate, LimitPeriod
from remit.capabilities.model import Limit as KeyLimit
from remit.grants.edits import UNSET as UNCHANGED
from remit.grants.edits import GrantEdit, NewGrant
from remit.grants.minting import DEFAULT_DELEGATE, Narrowing, Possession
from remit.grants.model import (
    Actor,
    Boundary,
    Delegation,
    Envelope,
    GrantStatus,
    Limit,
    OnExhausted,
    Overdraft,
    Rate,
    Renewal,
    Scope,
    Shape,
)
from remit.grants.revocations import without_secret
from remit.kernel.decisions import Dimension, GrantClass
from remit.kernel.money import MAX_NANOUSD
from remit.kernel.periods import in_every_zone
from remit.store.postgres_people import StoredPerson

MAX_BODY_BYTES = 1024 * 1024
MAX_TTL_SECONDS = 100 * 366 * 24 * 3600

Amount = Annotated[int, Meta(ge=0, le=MAX_NANOUSD)]
Reason = Annotated[str, Meta(min_length=1, max_length=2_000, description="why; recorded with the change")]
Text = Annotated[str, Meta(max_length=600)]
Texts = Annotated[tuple[Text, ...], Meta(max_length=200)]
Instant = Annotated[datetime, Meta(tz=True)]


class _RepeatedNameError(ValueError):
    """An object states a name twice, and readers disagree on which one counts."""


def _distinct(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise _RepeatedNameError(f"the name `{name}` stands twice in one object")
        seen.add(name)


class StrictRequest(Request[Actor, StoredPerson, State]):
    """Reads a body as exactly the type its route takes: no text for a number, no unknown or repeated name, no NUL."""

    async def json(self) -> Any:
        raw = await self.body()
        data = self.route_handler.parsed_data_field
        if not raw and data is not None and data.is_optional:
            return None
        return read_strictly(raw, data.annotation if data is not None else Any)


def read_strictly(raw: bytes, kind: Any) -> Any:
    """A body as exactly this type. Raises Refusal."""
    # The database cannot keep this character; no name, reason or label needs it.
    if b"\\u0000" in raw:
        raise refuse("malformed_request", "the body holds the character NUL", status=400)
    try:
        value = msgspec.json.decode(raw, type=kind)
        json.loads(raw, object_pairs_hook=_distinct, parse_int=len, parse_float=len)
    except (msgspec.ValidationError, _RepeatedNameError) as error:
        raise refuse("malformed_request", f"the body cannot be used: {error}", status=400) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise refuse("malformed_request", "the body is not JSON in UTF-8 of sensible depth", status=400) from None
    require_instants_in_range(value)
    return value


def require_instants_in_range(value: Any) -> None:
    """Raises Refusal for an instant that some zone's calendar does not hold."""
    if not all(map(in_every_zone, _instants(value))):
        raise refuse("malformed_request", "the body holds an instant out of range", status=400)


def _instants(value: Any) -> Iterator[datetime]:
    """Every instant that a body states."""
    if isinstance(value, datetime):
        yield value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _instants(getattr(value, name))
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _instants(one)


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all bodies have in common."""

    def asked(self) -> dict[str, Any]:
        """JSON-able form of what is stated, by which two requests under one key are compared."""
        plain = msgspec.to_builtins(self)
        assert isinstance(plain, dict)
        return plain

    def parts(self) -> dict[str, Any]:
        """The fields by their names."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


class ScopeBody(Body, frozen=True, kw_only=True):
    """What the spend is for."""

    team: Text | None = None
    feature: Text | None = None
    tenant: Text | None = None
    environment: Text | None = None
    experiment: Text | None = None


class LimitBody(Body, frozen=True, kw_only=True):
    """`amount` per calendar period: nano-USD, tokens or requests. 0 admits nothing."""

    dimension: Dimension
    amount: Amount
    period: LimitPeriod


Limits = Annotated[tuple[LimitBody, ...], Meta(max_length=200)]


class RateBody(Body, frozen=True, kw_only=True):
    """Requests and tokens per minute, requests in flight; null is no limit."""

    rpm: Amount | None = None
    tpm: Amount | None = None
    concurrency: Amount | None = None


class ShapeBody(Body, frozen=True, kw_only=True):
    """What one request may look like; null says nothing, an empty list allows none."""

    models: Texts | None = None
    vendors: Texts | None = None
    surfaces: Texts | None = None
    max_input_tokens: Amount | None = None
    max_output_tokens: Amount | None = None
    tools: bool | None = None


class EnvelopeBody(Body, frozen=True, kw_only=True):
    """What is approved without a person: how far up, to how much a month (nano-USD), how often in a row, for how long."""

    max_increase_percent: Amount = 0
    max_nanousd: Amount = 0
    max_renewals: Amount = 0
    max_term_days: Amount = 0


class BoundaryBody(Body, frozen=True, kw_only=True):
    """The most that may be handed out below; null says nothing, an empty list lets nothing be handed out."""

    max_share_percent: Amount | None = None
    max_nanousd: Amount | None = None
    classes: Annotated[tuple[GrantClass, ...], Meta(max_length=2)] | None = None
    models: Texts | None = None
    owners: Texts | None = None
    grace_hours: Amount = 0
    auto_approve: EnvelopeBody | None = None


class DelegationBody(Body, frozen=True, kw_only=True):
    """What the grant's owner may hand on."""

    allowed: bool = True
    max_depth: Amount | None = None
    overcommit_percent: Amount = 0
    max_term_days: Amount | None = None
    boundary: BoundaryBody | None = None


class OnExhaustedBody(Body, frozen=True, kw_only=True):
    """What happens near and at the cap."""

    pace_from_percent: Amount | None = None
    page_percents: Annotated[tuple[Amount, ...], Meta(max_length=200)] = (80, 100)
    webhook: Annotated[str, Meta(max_length=2_100)] | None = None


class OverdraftBody(Body, frozen=True, kw_only=True):
    """Extra escrowed for a production grant, in nano-USD."""

    max_nanousd: Amount


class RenewalBody(Body, frozen=True, kw_only=True):
    """When to ask for a renewal."""

    lead_time_days: Amount = 14
    auto_tier: Text | None = None


class CreateGrant(Body, frozen=True, kw_only=True):
    """A new grant; its parent is the grant one level up its path. Null takes the parent's value."""

    path: Text
    owner: Text
    reason: Reason
    grant_class: GrantClass | None = msgspec.field(name="class", default=None)
    time_zone: Text | None = None
    starts_at: Instant | None = None
    expires_at: Instant | None = None
    scope: ScopeBody = ScopeBody()
    limits: Limits = ()
    rate: RateBody = RateBody()
    shape: ShapeBody = ShapeBody()
    data_classes: Texts | None = None
    required_tags: Texts = ()
    delegation: DelegationBody = DelegationBody()
    on_exhausted: OnExhaustedBody = OnExhaustedBody()
    overdraft: OverdraftBody | None = None
    renewal: RenewalBody = RenewalBody()
    status: GrantStatus = "active"

    def new_grant(self) -> NewGrant:
        parts = {name: _model(name, value) for name, value in self.parts().items() if name != "reason"}
        return NewGrant(**parts)


class EditGrant(Body, frozen=True, kw_only=True):
    """New values for the fields that are stated; a field left out stays, and null is a value where it is allowed."""

    reason: Reason
    owner: Text | UnsetType = UNSET
    grant_class: GrantClass | UnsetType = msgspec.field(name="class", default=UNSET)
    time_zone: Text | UnsetType = UNSET
    starts_at: Instant | UnsetType = UNSET
    expires_at: Instant | UnsetType = UNSET
    scope: ScopeBody | UnsetType = UNSET
    limits: Limits | UnsetType = UNSET
    rate: RateBody | UnsetType = UNSET
    shape: ShapeBody | UnsetType = UNSET
    data_classes: Texts | UnsetType | None = UNSET
    required_tags: Texts | UnsetType = UNSET
    delegation: DelegationBody | UnsetType = UNSET
    on_exhausted: OnExhaustedBody | UnsetType = UNSET
    overdraft: OverdraftBody | UnsetType | None = UNSET
    renewal: RenewalBody | UnsetType = UNSET

    def edit(self) -> GrantEdit:
        parts = {name: _model(name, value) for name, value in self.parts().items() if name != "reason"}
        return GrantEdit(**{name: UNCHANGED if value is UNSET else value for name, value in parts.items()})


class Why(Body, frozen=True, kw_only=True):
    """The body of a write that needs nothing but a reason."""

    reason: Reason


class Revoke(Body, frozen=True, kw_only=True):
    """What to end: a path or an id of a grant, a key, a block or an issuer key, or a capability. `cut` ends running calls."""

    subject: Annotated[str, Meta(min_length=1, max_length=8192)]
    cut: bool = False
    issued_before: Instant | None = None
    reason: Reason

    @property
    def word(self) -> str:
        """The subject without the secret of an access key."""
        return without_secret(self.subject)

    @property
    def token(self) -> str | None:
        """The capability, where it is one."""
        return self.subject if self.subject.startswith("rmt1.") else None

    def asked(self) -> dict[str, Any]:
        """A capability is a secret: its hash stands for it."""
        hashed = f"capability {sha256(self.subject.encode()).hexdigest()}"
        return {**super().asked(), "subject": self.word if self.token is None else hashed}


class RenewGrant(Body, frozen=True, kw_only=True):
    """A later expiry."""

    expires_at: Instant
    reason: Reason

    def until(self) -> datetime:
        return self.expires_at.astimezone(UTC)


class ApplyManifest(Body, frozen=True, kw_only=True):
    """A grants file as JSON. `plan` is the digest of the plan that was looked at; another one is refused."""

    manifest: dict[str, Any]
    prune: bool = False
    reason: Reason | None = None
    plan: Text | None = None

    def asked(self) -> dict[str, Any]:
        return {"manifest": digest(self.manifest), "prune": self.prune, "reason": self.reason, "plan": self.plan}


class CreateKey(Body, frozen=True, kw_only=True):
    """An access key for a grant (id or path), narrowed by limits, models and labels of its own."""

    grant: Text
    name: Text
    reason: Reason | None = None
    expires_at: Instant | None = None
    limits: Limits = ()
    models: Texts | None = None
    labels: Annotated[dict[Text, Text], Meta(max_length=64)] = {}

    def asked(self) -> dict[str, Any]:
        # Left out where nothing is said, as it was before there was a reason: a repetition stays the same request.
        asked = super().asked()
        return asked if self.reason is not None else {name: one for name, one in asked.items() if name != "reason"}

    def key_limits(self) -> tuple[KeyLimit, ...]:
        return tuple(KeyLimit(one.dimension, one.amount, one.period) for one in self.limits)


class DelegateBody(Body, frozen=True, kw_only=True):
    """What the holder may hand on: blocks below this one, living children of each, seconds a child lives."""

    max_depth: Annotated[int, Meta(ge=0, le=7)] = DEFAULT_DELEGATE.max_depth
    max_children: Annotated[int, Meta(ge=0, le=2**31 - 1)] = DEFAULT_DELEGATE.max_children
    max_ttl_seconds: Annotated[int, Meta(ge=0, le=MAX_TTL_SECONDS)] = DEFAULT_DELEGATE.max_ttl_seconds


class ConfirmationBody(Body, frozen=True, kw_only=True):
    """Who must prove possession: a key's thumbprint (`jkt`), a certificate's SHA-256, or a SPIFFE id."""

    kind: Literal["jkt", "x5t#S256", "spiffe"]
    value: Text


class MintCapability(Body, frozen=True, kw_only=True):
    """A capability of a grant (id or path); ends after `ttl_seconds` or at `expires_at`, after an hour with neither.

    `public_key` is the holder's own Ed25519 key, 32 bytes in base64url: the capability then holds no secret.
    """

    grant: Text
    purpose: Annotated[str, Meta(min_length=1, max_length=1_024)]
    reason: Reason | None = None
    ttl_seconds: Annotated[int, Meta(ge=1, le=MAX_TTL_SECONDS)] | None = None
    expires_at: Instant | None = None
    limits: Limits = ()
    models: Texts | None = None
    surfaces: Texts | None = None
    labels: Annotated[dict[Text, Text], Meta(max_length=64)] = {}
    delegate: DelegateBody = DelegateBody()
    confirmation: ConfirmationBody | None = None
    public_key: Text | None = None

    def narrowing(self) -> Narrowing:
        return Narrowing(
            limits=tuple(KeyLimit(one.dimension, one.amount, one.period) for one in self.limits),
            models=self.models,
            surfaces=self.surfaces,
            labels=self.labels,
            delegate=Delegate(**self.delegate.parts()),
        )

    def possession(self) -> Possession:
        """Raises Refusal."""
        stated = self.confirmation
        key = None if self.public_key is None else decode_base64url(self.public_key)
        if isinstance(key, Invalid) or (key is not None and len(key) != 32):
            detail = "`public_key` is not base64url of 32 bytes"
            raise refuse("public_key_invalid", detail, field="public_key")
        confirmation = None if stated is None else Confirmation(stated.kind, stated.value)
        return Possession(confirmation=confirmation, next_public_key=key)


_MODELS: dict[str, type[Any]] = {
    "scope": Scope,
    "rate": Rate,
    "shape": Shape,
    "delegation": Delegation,
    "boundary": Boundary,
    "auto_approve": Envelope,
    "on_exhausted": OnExhausted,
    "overdraft": Overdraft,
    "renewal": Renewal,
}


def _model(name: str, value: Any) -> Any:
    """A part of a body as the type of the model."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if name == "limits" and isinstance(value, tuple):
        return tuple(Limit(one.dimension, one.amount, one.period) for one in value)
    if isinstance(value, Body):
        return _MODELS[name](**{part: _model(part, one) for part, one in value.parts().items()})
    return value


def digest(value: Any) -> str:
    """A name for JSON-able data: SHA-256 in hexadecimal, the same for every order of keys."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()
