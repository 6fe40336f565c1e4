"""A capability in an application's hands: the text it was given, and what that text says."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from remit.capabilities.access_keys import ACCESS_KEY_PREFIX
from remit.capabilities.encoding import decode_token
from remit.capabilities.model import CapabilityProblem, Confirmation, Delegate, Limit, Verified, VerifiedBlock
from remit.capabilities.reading import inspect
from remit.kernel.names import model_matches
from remit.sdk.errors import CapabilityError

ENVIRONMENT = "REMIT_CAPABILITY"


@dataclass(frozen=True, slots=True)
class Block:
    """One block's own terms. Where `limits` is not empty the gateway keeps buckets under `id` (64 hex digits).

    `delegate` is what it lets its holder hand on, within every block before it.
    """

    id: str
    limits: tuple[Limit, ...]
    models: tuple[str, ...] | None
    surfaces: tuple[str, ...] | None
    expires_at: datetime
    delegate: Delegate


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a capability says, from the issuer's block to the last one. **Signatures were not checked**: for reading only.

    `limits` has the tightest amount of each dimension and period; the gateway counts on every block's own limits all the
    same. `models` (names, or prefixes ending in `*`) and `surfaces` are what all blocks have in common; None restricts
    nothing, an empty list admits nothing. `delegate` is what may still be handed on. `confirmations` have to be proven with
    every request. `bearer` says whether the text alone is enough to present and to narrow it. The grant binds in any case.
    """

    grant: str
    tenant: str
    audience: str
    blocks: tuple[Block, ...]
    limits: tuple[Limit, ...]
    models: tuple[str, ...] | None
    surfaces: tuple[str, ...] | None
    labels: Mapping[str, str]
    not_before: datetime
    expires_at: datetime
    delegate: Delegate
    confirmations: tuple[Confirmation, ...]
    bearer: bool


@dataclass(frozen=True, slots=True)
class Capability:
    """A capability's text, or an access key, which can be presented but not read. The secrets stay out of the `repr`."""

    token: str = field(repr=False)

    @property
    def is_access_key(self) -> bool:
        return self.token.startswith(ACCESS_KEY_PREFIX)

    def inspect(self) -> View:
        """What it says; no signature is checked and nothing is asked. Raises CapabilityError."""
        found = self.read()
        frame = decode_token(self.token)
        return view_of(found, bearer=getattr(frame, "bearer_secret", None) is not None)

    def read(self) -> Verified:
        """The same as the gateway's own type. Raises CapabilityError."""
        if self.is_access_key:
            raise CapabilityError(
                "access_key",
                "an access key is a short name for a capability and cannot be read or narrowed without the authority; "
                "`remit key create GRANT --name NAME --token` prints the capability as well",
            )
        found = inspect(self.token)
        if isinstance(found, CapabilityProblem):
            raise CapabilityError(found.code, found.reason)
        return found

    @property
    def id(self) -> str:
        """The id of its last block, 64 hex digits: what `remit revoke` takes. Raises CapabilityError."""
        return self.read().block_ids[-1]

    @property
    def expires_at(self) -> datetime:
        """When it ends, at the latest. Raises CapabilityError."""
        return instant_of(self.read().not_after)


def as_capability(given: "Capability | str") -> Capability:
    """A capability from its text. Raises CapabilityError where the text is neither a token nor an access key."""
    if isinstance(given, Capability):
        return given
    text = given.strip()
    if not text.startswith(("rmt1.", ACCESS_KEY_PREFIX)):
        raise CapabilityError("invalid", "a capability begins with `rmt1.`, an access key with `rk_`")
    return Capability(text)


def from_environment() -> Capability | None:
    """The capability or access key in $REMIT_CAPABILITY. Raises CapabilityError where that is neither."""
    text = os.environ.get(ENVIRONMENT, "").strip()
    return as_capability(text) if text else None


def view_of(found: Verified, *, bearer: bool) -> View:
    """What the gateway's type says, for applications."""
    blocks = found.blocks
    return View(
        grant=found.grant,
        tenant=found.tenant,
        audience=found.audience,
        blocks=tuple(_block(one) for one in blocks),
        limits=_tightest([limit for block in blocks for limit in block.limits]),
        models=_common_models([block.models for block in blocks]),
        surfaces=_common([block.surfaces for block in blocks]),
        labels=dict(found.labels),
        not_before=instant_of(found.not_before),
        expires_at=instant_of(found.not_after),
        delegate=found.delegate,
        confirmations=found.confirmations,
        bearer=bearer,
    )


def instant_of(second: int) -> datetime:
    """The instant of a Unix second."""
    return datetime.fromtimestamp(second, UTC)


def _block(one: VerifiedBlock) -> Block:
    return Block(one.block_id, one.limits, one.models, one.surfaces, instant_of(one.not_after), one.delegate)


def _tightest(limits: Sequence[Limit]) -> tuple[Limit, ...]:
    least: dict[tuple[str, str], Limit] = {}
    for limit in limits:
        known = least.setdefault((limit.dimension, limit.period), limit)
        if limit.amount < known.amount:
            least[limit.dimension, limit.period] = limit
    return tuple(least[key] for key in sorted(least))


def _common(lists: Sequence[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    stated = [set(one) for one in lists if one is not None]
    return tuple(sorted(set.intersection(*stated))) if stated else None


def _common_models(lists: Sequence[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    """The intersection of lists of patterns: of two that overlap, the longer one lies within the other."""
    common: tuple[str, ...] | None = None
    for patterns in lists:
        if patterns is None or common is None:
            common = common if patterns is None else patterns
            continue
        pairs = [(one, other) for one in common for other in patterns]
        inner = {one for one, other in pairs if _within(one, other)} | {
            other for one, other in pairs if _within(other, one)
        }
        common = tuple(sorted(inner))
    return common


def _within(narrow: str, wide: str) -> bool:
    """Whether all that one pattern matches the other matches as well."""
    if narrow.endswith("*"):
        return wide.endswith("*") and narrow.startswith(wide[:-1])
    return model_matches(wide, narrow)
