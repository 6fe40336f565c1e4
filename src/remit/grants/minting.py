"""Capabilities minted from a grant: block_0 of a chain. The one way to make one, for access keys, people and workloads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Protocol

from remit.capabilities.encoding import UnencodableError
from remit.capabilities.issuer_keys import IssuerPrivateKey, issuer_key_of
from remit.capabilities.model import Block0, Confirmation, Delegate, IssuerKey, Limit, Minted
from remit.capabilities.rules import mint_block0, public_key_of
from remit.grants.model import Actor, Grant, Problem
from remit.grants.ports import GrantRepository
from remit.grants.roles import Right, may, owner_may
from remit.grants.standing import standing_of
from remit.grants.tree import Tree
from remit.grants.vocabulary import labels_problem
from remit.kernel.clock import Clock

CLOCK_LEEWAY_SECONDS = 60
DEFAULT_TTL = timedelta(hours=1)
MAX_PURPOSE = 1_024
DEFAULT_DELEGATE = Delegate(max_depth=7, max_children=64, max_ttl_seconds=7 * 24 * 3600)
NO_LABELS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """What a capability may do less than its grant; absent `models` or `surfaces` restrict nothing."""

    limits: tuple[Limit, ...] = ()
    models: tuple[str, ...] | None = None
    surfaces: tuple[str, ...] | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)
    delegate: Delegate = DEFAULT_DELEGATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Possession:
    """Who must prove possession at every request; with neither part the capability is a bearer's.

    `next_public_key` (32 bytes, Ed25519) is the holder's own key, which also signs further blocks. With a confirmation
    alone nobody can add blocks: the key that could is thrown away, so that whoever steals the text gains nothing.
    """

    confirmation: Confirmation | None = None
    next_public_key: bytes | None = field(repr=False, default=None)

    @property
    def is_bearer(self) -> bool:
        return self.confirmation is None and self.next_public_key is None


NOTHING_LESS = Narrowing()
BEARER = Possession()


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRecord:
    """What is kept of a block_0: who had it made, for what, until when. No secret and no signature."""

    id: str
    grant_id: str
    kid: str
    issued_at: datetime
    not_after: datetime
    max_children: int
    limits: tuple[Limit, ...]
    issued_by: str
    purpose: str
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCapability:
    """A capability just minted. `token` is shown once and cannot be recovered."""

    block: BlockRecord
    grant_path: str
    token: str = field(repr=False)
    is_bearer: bool


class IssuerStore(Protocol):
    """Where issuer keys are known."""

    def make_issuer_known(self, key: IssuerKey, now: datetime) -> str:
        """Stores an issuer's public key where it is not known yet; its status: `signing`, `verify_only` or `revoked`."""
        ...


class CapabilityStore(IssuerStore, Protocol):
    """Where the blocks that were minted are recorded."""

    def insert(self, block: BlockRecord) -> None:
        """Records a block. Its id is new."""
        ...


class BlockIssuer:
    """Signs block_0 for grants that were looked up and permitted already.

    `issuer_key` reads the key that signs, each time one is needed: it may have been rotated since.
    """

    def __init__(
        self, clock: Clock, issuer_key: Callable[[], IssuerPrivateKey], audience: str, random: Callable[[int], bytes]
    ) -> None:
        self.clock = clock
        self.random = random
        self._issuer_key = issuer_key
        self._audience = audience

    def issue(  # noqa: PLR0917 - one argument per part of a block
        self,
        issuers: IssuerStore,
        grant: Grant,
        actor: Actor,
        purpose: str,
        not_after: datetime,
        narrowing: Narrowing,
        possession: Possession = BEARER,
    ) -> tuple[Minted, BlockRecord] | Problem:
        """A block that ends at `not_after`, and what is to be recorded of it. Nothing is stored here."""
        now = self.clock.now()
        if not purpose or len(purpose) > MAX_PURPOSE or not purpose.isprintable():
            detail = f"a purpose has 1 to {MAX_PURPOSE} printable characters"
            return Problem(code="purpose_invalid", path=grant.path, detail=detail, field="purpose")
        secret = self.random(32)
        issued_at = int(now.timestamp())
        block = Block0(
            grant=grant.id,
            tenant=grant.path.partition("/")[0],
            epoch=grant.epoch,
            audience=self._audience,
            issued_at=issued_at,
            # A gateway's clock may be a little behind the one that issues.
            not_before=issued_at - CLOCK_LEEWAY_SECONDS,
            not_after=int(not_after.timestamp()),
            delegate=narrowing.delegate,
            next_key=possession.next_public_key or public_key_of(secret),
            nonce=self.random(16),
            limits=narrowing.limits,
            models=narrowing.models,
            surfaces=narrowing.surfaces,
            labels=narrowing.labels,
            confirmation=possession.confirmation,
        )
        tail = secret if possession.is_bearer else None
        minted = self._sign(issuers, block, tail, grant.path, now)
        if isinstance(minted, Problem):
            return minted
        record = BlockRecord(
            id=minted.block_id,
            grant_id=grant.id,
            kid=minted.stored.kid,
            issued_at=datetime.fromtimestamp(block.issued_at, UTC),
            not_after=datetime.fromtimestamp(block.not_after, UTC),
            max_children=narrowing.delegate.max_children,
            limits=narrowing.limits,
            issued_by=actor.name,
            purpose=purpose,
            recorded_at=now,
        )
        return minted, record

    def _sign(
        self, issuers: IssuerStore, block: Block0, tail: bytes | None, path: str, now: datetime
    ) -> Minted | Problem:
        """Signs with the key that is there now, which its standing in the store has to allow."""
        private_key = self._issuer_key()
        issuer = issuer_key_of(private_key)
        standing = issuers.make_issuer_known(issuer, now)
        if standing != "signing":
            detail = (
                f"the issuer key `{issuer.kid}` in the data folder is {standing} in the database and signs nothing any more;"
                " `remit issuer list` shows the keys, `remit issuer rotate` makes a new one"
            )
            return Problem(code="issuer_key_not_signing", path=path, detail=detail)
        try:
            return mint_block0(private_key, issuer, block, tail)
        except UnencodableError as error:
            return Problem(code="capability_invalid", path=path, detail=str(error))


class CapabilityService:
    """The one way to mint capabilities without an access key."""

    def __init__(self, store: CapabilityStore, grants: GrantRepository, issuer: BlockIssuer) -> None:
        self._store = store
        self._grants = grants
        self._issuer = issuer

    def mint(
        self,
        grant_ref: str,
        actor: Actor,
        *,
        purpose: str,
        ttl: timedelta | None = None,
        expires_at: datetime | None = None,
        narrowing: Narrowing = NOTHING_LESS,
        possession: Possession = BEARER,
    ) -> NewCapability | Problem:
        """A capability of a grant, for an hour unless told otherwise.

        A life (`ttl`) ends with the grant and everything above it at the latest; an instant (`expires_at`) beyond
        that is refused.
        """
        with self._grants.read() as reads:
            tree, tags = Tree(reads.load_tree()), reads.vocabulary()
        grant = permitted_grant(tree, grant_ref, actor, "mint capabilities for")
        if isinstance(grant, Problem):
            return grant
        if problem := labels_problem(tags, tree.path_to(grant), narrowing.labels, "labels"):
            return problem
        not_after = self._end(tree, grant, ttl, expires_at)
        if isinstance(not_after, Problem):
            return not_after
        issued = self._issuer.issue(self._store, grant, actor, purpose, not_after, narrowing, possession)
        if isinstance(issued, Problem):
            return issued
        minted, record = issued
        self._store.insert(record)
        return NewCapability(block=record, grant_path=grant.path, token=minted.token, is_bearer=possession.is_bearer)

    def _end(self, tree: Tree, grant: Grant, ttl: timedelta | None, expires_at: datetime | None) -> datetime | Problem:
        now = self._issuer.clock.now()
        standing = standing_of(tree, grant, now)
        if standing.status != "active":
            why = standing.text(grant.path)
            return Problem(code="grant_inactive", path=grant.path, detail=f"`{grant.path}` is {why}")
        if ttl is not None and expires_at is not None:
            detail = "state how long a capability lives or when it ends, not both"
            return Problem(code="expiry_stated_twice", path=grant.path, detail=detail, field="expires_at")
        if expires_at is not None and expires_at > standing.expires_at:
            detail = f"a capability ends with its grant at the latest: {standing.expires_at.isoformat()}"
            return Problem(code="expires_after_grant", path=grant.path, detail=detail, field="expires_at")
        # Far beyond any grant's end; a longer sum may not be an instant any more.
        life = min(DEFAULT_TTL if ttl is None else ttl, standing.expires_at - now)
        end = now + life if expires_at is None else expires_at
        if int(end.timestamp()) <= int(now.timestamp()):
            detail = "a capability lives for a second at least"
            return Problem(code="expiry_in_the_past", path=grant.path, detail=detail, field="expires_at")
        return end


def permitted_grant(tree: Tree, grant_ref: str, actor: Actor, deed: str, *, living: bool = True) -> Grant | Problem:
    """The grant, where this person is one of its owners or an admin.

    `living` says that a revoked one will not do; where it will, the deed ends something, and so may whoever may end things.
    """
    grant = tree.find(grant_ref)
    if grant is None:
        return Problem(code="unknown_grant", path=grant_ref, detail=f"there is no grant `{grant_ref}`")
    if living and grant.status == "revoked":
        return Problem(code="grant_revoked", path=grant.path, detail=f"`{grant.path}` is revoked")
    path = tree.path_to(grant)
    right: Right = "write_grants" if living else "end"
    if not may(actor, right, path) and not owner_may(actor, right, path):
        detail = f"`{actor.name}` may not {deed} `{grant.path}`: that takes one of its owners or an admin"
        return Problem(code="not_permitted", path=grant.path, detail=detail)
    return grant
