"""Access keys: short secrets that stand for a capability issued from a grant. Created, rotated, revoked here only."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from remit.capabilities.access_keys import new_access_key
from remit.capabilities.encoding import UnencodableError
from remit.capabilities.issuer_keys import IssuerPrivateKey, issuer_key_of
from remit.capabilities.model import Block0, Delegate, IssuerKey, Limit, Minted, StoredCapability
from remit.capabilities.rules import mint_block0, public_key_of
from remit.grants.model import Actor, Grant, Problem, same_person
from remit.grants.ports import GrantRepository
from remit.grants.tree import Tree
from remit.kernel.clock import Clock

# The grant's own expiry binds whatever the key says; the key outlives it so that a renewal revives the key as well.
DEFAULT_LIFE = timedelta(days=3 * 366)
MAX_NAME = 100
CLOCK_LEEWAY_SECONDS = 60
_DELEGATE = Delegate(max_depth=7, max_children=64, max_ttl_seconds=7 * 24 * 3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """An access key as stored: no secret in it, only its hash."""

    id: str
    grant_id: str
    name: str
    secret_hash: bytes = field(repr=False)
    capability: StoredCapability = field(repr=False)
    created_at: datetime
    created_by: str
    expires_at: datetime
    rotated_from: str | None = None
    revoked_at: datetime | None = None
    revoked_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key just made. `text` and `token` are shown once; neither can be recovered."""

    key: StoredKey
    text: str = field(repr=False)
    token: str | None = field(repr=False, default=None)


class KeyStore(Protocol):
    """Where access keys are kept."""

    def insert(self, key: StoredKey, replaces: str | None, now: datetime) -> bool:
        """Stores a key; in the same transaction revokes the one it replaces. False, and nothing, where that is not alive."""
        ...

    def find(self, key_id: str) -> StoredKey | None: ...

    def revoke(self, key_id: str, by: str, now: datetime) -> bool:
        """Whether a living key was revoked."""
        ...

    def make_issuer_known(self, key: IssuerKey, now: datetime) -> str:
        """Stores an issuer's public key where it is not known yet; its status: `signing`, `verify_only` or `revoked`."""
        ...


class KeyService:
    """The one way to write access keys, for the command line and the API alike.

    `issuer_key` reads the key that signs, each time one is needed: it may have been rotated since.
    """

    def __init__(  # noqa: PLR0917 - one argument per port, joined in one place
        self,
        store: KeyStore,
        grants: GrantRepository,
        clock: Clock,
        issuer_key: Callable[[], IssuerPrivateKey],
        audience: str,
        random: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._grants = grants
        self._clock = clock
        self._issuer_key = issuer_key
        self._audience = audience
        self._random = random

    def create(
        self,
        grant_ref: str,
        name: str,
        actor: Actor,
        *,
        expires_at: datetime | None = None,
        limits: tuple[Limit, ...] = (),
        models: tuple[str, ...] | None = None,
        labels: dict[str, str] | None = None,
    ) -> NewKey | Problem:
        """Issues a capability from a grant and a short key that stands for it."""
        grant, problem = self._grant_for(grant_ref, actor, "make keys for")
        if grant is None:
            assert problem is not None
            return problem
        if not name or len(name) > MAX_NAME or not name.isprintable():
            return Problem(
                code="name_invalid",
                path=grant.path,
                detail=f"a key's name has 1 to {MAX_NAME} printable characters",
                field="name",
            )
        now = self._clock.now()
        expires = expires_at or now + DEFAULT_LIFE
        if expires <= now:
            return Problem(
                code="expiry_in_the_past",
                path=grant.path,
                detail="a key's expiry lies in the future",
                field="expires_at",
            )
        next_secret = self._random(32)
        issued_at = int(now.timestamp())
        block = Block0(
            grant=grant.id,
            tenant=grant.path.partition("/")[0],
            epoch=grant.epoch,
            audience=self._audience,
            issued_at=issued_at,
            # A gateway's clock may be a little behind the one that issues.
            not_before=issued_at - CLOCK_LEEWAY_SECONDS,
            not_after=int(expires.timestamp()),
            delegate=_DELEGATE,
            next_key=public_key_of(next_secret),
            nonce=self._random(16),
            limits=limits,
            models=models,
            labels=labels or {},
        )
        minted = self._mint(block, next_secret, grant.path, now)
        if isinstance(minted, Problem):
            return minted
        return self._keep(grant.id, name, actor, minted.stored, expires, token=minted.token)

    def _mint(self, block: Block0, next_secret: bytes, path: str, now: datetime) -> Minted | Problem:
        """Signs with the key that is there now, which its standing in the store has to allow."""
        private_key = self._issuer_key()
        issuer = issuer_key_of(private_key)
        standing = self._store.make_issuer_known(issuer, now)
        if standing != "signing":
            detail = (
                f"the issuer key `{issuer.kid}` in the data folder is {standing} in the database and signs nothing any more;"
                " `remit issuer list` shows the keys, `remit issuer rotate` makes a new one"
            )
            return Problem(code="issuer_key_not_signing", path=path, detail=detail)
        try:
            return mint_block0(private_key, issuer, block, next_secret)
        except UnencodableError as error:
            return Problem(code="capability_invalid", path=path, detail=str(error))

    def rotate(self, key_id: str, actor: Actor) -> NewKey | Problem:
        """A new secret for the same capability: what was spent stays spent. The old secret stops working at once.

        A capability text that was shown when the key was made goes on working: it is revoked with the key, not rotated.
        """
        old = self._store.find(key_id)
        if old is None or old.revoked_at is not None:
            return _not_living(key_id)
        grant, problem = self._grant_for(old.grant_id, actor, "rotate keys of")
        if grant is None:
            assert problem is not None
            return problem
        return self._keep(grant.id, old.name, actor, old.capability, old.expires_at, replaces=old)

    def revoke(self, key_id: str, actor: Actor) -> StoredKey | Problem:
        """Makes a key, and the capability it stands for, useless at once."""
        key = self._store.find(key_id)
        if key is None:
            return Problem(code="unknown_key", path=key_id, detail=f"there is no access key `{key_id}`")
        grant, problem = self._grant_for(key.grant_id, actor, "revoke keys of", living=False)
        if grant is None:
            assert problem is not None
            return problem
        if not self._store.revoke(key_id, actor.name, self._clock.now()):
            return Problem(code="already_revoked", path=grant.path, detail=f"access key `{key_id}` was revoked before")
        revoked = self._store.find(key_id)
        assert revoked is not None
        return revoked

    def _keep(
        self,
        grant_id: str,
        name: str,
        actor: Actor,
        capability: StoredCapability,
        expires_at: datetime,
        *,
        token: str | None = None,
        replaces: StoredKey | None = None,
    ) -> NewKey | Problem:
        fresh = new_access_key(self._random)
        now = self._clock.now()
        key = StoredKey(
            id=fresh.key_id,
            grant_id=grant_id,
            name=name,
            secret_hash=fresh.secret_hash,
            capability=capability,
            created_at=now,
            created_by=actor.name,
            expires_at=expires_at,
            rotated_from=replaces.id if replaces else None,
        )
        if not self._store.insert(key, replaces.id if replaces else None, now):
            # Revoked since it was read: a new key would bring its capability back to life.
            assert replaces is not None
            return _not_living(replaces.id)
        return NewKey(key=key, text=fresh.text, token=token)

    def _grant_for(
        self, grant_ref: str, actor: Actor, deed: str, *, living: bool = True
    ) -> tuple[Grant, None] | tuple[None, Problem]:
        with self._grants.read() as reads:
            tree = Tree(reads.load_tree())
        grant = tree.find(grant_ref)
        if grant is None:
            return None, Problem(code="unknown_grant", path=grant_ref, detail=f"there is no grant `{grant_ref}`")
        if living and grant.status == "revoked":
            return None, Problem(code="grant_revoked", path=grant.path, detail=f"`{grant.path}` is revoked")
        owners = [node.owner for node in tree.path_to(grant)]
        if not actor.is_admin and not any(same_person(actor.name, owner) for owner in owners):
            detail = f"`{actor.name}` may not {deed} `{grant.path}`: that takes one of its owners or an admin"
            return None, Problem(code="not_permitted", path=grant.path, detail=detail)
        return grant, None


def _not_living(key_id: str) -> Problem:
    return Problem(code="unknown_key", path=key_id, detail=f"there is no living access key `{key_id}`")
