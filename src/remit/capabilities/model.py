"""What a capability says, as frozen types. Instants are whole Unix seconds, durations whole seconds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from remit.kernel.decisions import Dimension, RefusalCode
from remit.kernel.names import model_matches

LimitUnit = Literal["nanousd", "tokens", "requests"]
LimitPeriod = Literal["once", "day", "week", "month", "quarter"]
ProblemCode = Literal["invalid", "expired", "not_yet_valid", "proof_required"]

UNIT_OF_DIMENSION: Mapping[Dimension, LimitUnit] = MappingProxyType(
    {"usd": "nanousd", "tokens": "tokens", "requests": "requests"}
)
LIMIT_PERIODS: tuple[str, ...] = get_args(LimitPeriod)
_NO_LABELS: Mapping[str, str] = MappingProxyType({})

_REFUSAL_OF_PROBLEM: Mapping[ProblemCode, RefusalCode] = MappingProxyType(
    {
        "invalid": RefusalCode.capability_invalid,
        "not_yet_valid": RefusalCode.capability_invalid,
        "expired": RefusalCode.capability_expired,
        "proof_required": RefusalCode.proof_required,
    }
)


@dataclass(frozen=True, slots=True)
class Limit:
    """`amount` of the dimension's unit (nano-USD, tokens, requests) per period; 0 admits nothing."""

    dimension: Dimension
    amount: int
    period: LimitPeriod

    @property
    def unit(self) -> LimitUnit:
        return UNIT_OF_DIMENSION[self.dimension]


@dataclass(frozen=True, slots=True)
class Delegate:
    """What the holder may hand on: further blocks below this one, live children per block, seconds a child lives."""

    max_depth: int
    max_children: int
    max_ttl_seconds: int


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Who must prove possession: a JWK thumbprint, a certificate's SHA-256 (both base64url) or a SPIFFE id."""

    kind: Literal["jkt", "x5t#S256", "spiffe"]
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Block0:
    """The issuer's block. Absent `models` or `surfaces` (None) restrict nothing; no limits is no limit.

    `epoch` is the grant's at issue: the gateway refuses a capability whose epoch is behind the stored grant's.
    `issued_at` is only compared with an issuer key's cut-off; `not_before <= now < not_after` is the validity.
    """

    grant: str
    tenant: str
    epoch: int
    audience: str
    issued_at: int
    not_before: int
    not_after: int
    delegate: Delegate
    next_key: bytes
    nonce: bytes
    limits: tuple[Limit, ...] = ()
    models: tuple[str, ...] | None = None
    surfaces: tuple[str, ...] | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: _NO_LABELS)
    confirmation: Confirmation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderBlock:
    """A block that a holder appends: it narrows what the chain before it says, whatever it says itself.

    `not_after` is at most the parent's. `labels` may only add names. An absent `delegate` hands on the parent's, one level
    less deep. `next_key` belongs to whoever the chain is handed to.
    """

    not_after: int
    next_key: bytes
    nonce: bytes
    limits: tuple[Limit, ...] = ()
    models: tuple[str, ...] | None = None
    surfaces: tuple[str, ...] | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: _NO_LABELS)
    delegate: Delegate | None = None
    confirmation: Confirmation | None = None


@dataclass(frozen=True, slots=True)
class StoredCapability:
    """A signed block_0 without a tail: what an access key stands for. Holds no secret."""

    kid: str
    payload: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Minted:
    """A fresh capability: the text to show once, the form to store, and the block's id (64 hex digits)."""

    token: str = field(repr=False)
    stored: StoredCapability
    block_id: str


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """The public half of an issuer's key (32 bytes).

    `verify_only` keys never sign again. Capabilities issued before `min_issued_at` (Unix seconds) are of no use, and those of a
    key that was `revoked` never.
    """

    kid: str
    public_key: bytes
    verify_only: bool = False
    min_issued_at: int | None = None
    revoked: bool = False

    def __post_init__(self) -> None:
        assert len(self.public_key) == 32, "an Ed25519 public key has 32 bytes"


@dataclass(frozen=True, slots=True)
class Appended:
    """A chain with one more block: its text, and the new block's id (64 hex digits)."""

    token: str = field(repr=False)
    block_id: str


IssuerKeys = Mapping[str, IssuerKey]


def issuer_key_ring(keys: Iterable[IssuerKey]) -> IssuerKeys:
    """Issuer keys by kid; raises ValueError where two share a kid or a public key.

    The kid is not signed: one key under two kids would let a holder choose which key's cut-off applies.
    """
    listed = tuple(keys)
    ring = {key.kid: key for key in listed}
    if len(ring) != len(listed) or len({key.public_key for key in listed}) != len(listed):
        raise ValueError("two issuer keys share a kid or a public key")
    return MappingProxyType(ring)


@dataclass(frozen=True, slots=True)
class VerifiedBlock:
    """One block's own restrictions. Where `limits` is not empty the block owns buckets keyed by `block_id`.

    `delegate` is what holds for the block's children: its own rules within those of every block before it.
    """

    block_id: str
    limits: tuple[Limit, ...]
    models: tuple[str, ...] | None
    surfaces: tuple[str, ...] | None
    not_after: int
    delegate: Delegate


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A capability whose signatures, audience and validity were checked at one instant.

    Revocation (`block_ids`), the grant's state and `epoch` are the caller's to check, on every request.
    Authority is the intersection over `blocks`; read it by `allows_model` and `allows_surface`. `not_before` and `not_after`
    are those of the whole chain, `labels` those of all blocks, `delegate` what the last one may hand on. Whoever presents
    the chain has to prove each of `confirmations`, of each kind at most one; none for a bearer's.
    """

    kid: str
    grant: str
    tenant: str
    epoch: int
    audience: str
    issued_at: int
    not_before: int
    not_after: int
    delegate: Delegate
    labels: Mapping[str, str]
    blocks: tuple[VerifiedBlock, ...]
    confirmations: tuple[Confirmation, ...] = ()

    @property
    def block_ids(self) -> tuple[str, ...]:
        """From the issuer's block to the last one; 64 hex digits each."""
        return tuple(block.block_id for block in self.blocks)

    def allows_model(self, model: str) -> bool:
        """Whether every block admits the model's exact name."""
        return all(block.models is None or any(model_matches(p, model) for p in block.models) for block in self.blocks)

    def allows_surface(self, surface: str) -> bool:
        """Whether every block admits the surface."""
        return all(block.surfaces is None or surface in block.surfaces for block in self.blocks)


@dataclass(frozen=True, slots=True)
class CapabilityProblem:
    """Why a capability is of no use now; `reason` is one lower-case phrase without any secret.

    Where nothing but proof of possession is missing, `unproven` is what it would authorise: whether it was revoked can
    and must be told first.
    """

    code: ProblemCode
    reason: str
    unproven: Verified | None = None

    @property
    def refusal_code(self) -> RefusalCode:
        return _REFUSAL_OF_PROBLEM[self.code]
