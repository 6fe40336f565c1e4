"""Access keys: short secrets that stand for a capability issued from a grant. Created, rotated, revoked here only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from remit.capabilities.access_keys import new_access_key
from remit.capabilities.model import IssuerKey, Limit, StoredCapability
from remit.grants.minting import NO_LABELS, BlockIssuer, BlockRecord, Narrowing, permitted_grant
from remit.grants.model import Actor, Grant, Problem
from remit.grants.ports import GrantRepository
from remit.grants.tree import Tree
from remit.grants.vocabulary import labels_problem

# The grant's own expiry binds whatever the key says; the key outlives it so that a renewal revives the key as well.
DEFAULT_LIFE = timedelta(days=3 * 366)
MAX_NAME = 100


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

    def insert(self, key: StoredKey, replaces: str | None, now: datetime, block: BlockRecord | None = None) -> bool:
        """Stores a key, and the block that was minted for it; in the same transaction revokes the one it replaces.

        False, and nothing, where that is not alive.
        """
        ...

    def find(self, key_id: str) -> StoredKey | None: ...

    def revoke(self, key_id: str, by: str, now: datetime) -> bool:
        """Whether a living key was revoked."""
        ...

    def make_issuer_known(self, key: IssuerKey, now: datetime) -> str:
        """See `remit.grants.minting.IssuerStore`."""
        ...


class KeyService:
    """The one way to write access keys, for the command line and the API alike."""

    def __init__(self, store: KeyStore, grants: GrantRepository, issuer: BlockIssuer) -> None:
        self._store = store
        self._grants = grants
        self._issuer = issuer
        self._clock = issuer.clock

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
        grant, problem = self._grant_for(grant_ref, actor, "make keys for", labels=labels or {})
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
        narrowing = Narrowing(limits=limits, models=models, labels=labels or {})
        issued = self._issuer.issue(self._store, grant, actor, name, expires, narrowing)
        if isinstance(issued, Problem):
            return issued
        minted, block = issued
        return self._keep(grant.id, name, actor, minted.stored, expires, token=minted.token, block=block)

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
        block: BlockRecord | None = None,
        replaces: StoredKey | None = None,
    ) -> NewKey | Problem:
        fresh = new_access_key(self._issuer.random)
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
        if not self._store.insert(key, replaces.id if replaces else None, now, block):
            # Revoked since it was read: a new key would bring its capability back to life.
            assert replaces is not None
            return _not_living(replaces.id)
        return NewKey(key=key, text=fresh.text, token=token)

    def _grant_for(
        self, grant_ref: str, actor: Actor, deed: str, *, living: bool = True, labels: Mapping[str, str] = NO_LABELS
    ) -> tuple[Grant, None] | tuple[None, Problem]:
        with self._grants.read() as reads:
            tree, tags = Tree(reads.load_tree()), reads.vocabulary()
        grant = permitted_grant(tree, grant_ref, actor, deed, living=living)
        if isinstance(grant, Problem):
            return None, grant
        problem = labels_problem(tags, tree.path_to(grant), labels, "labels")
        return (grant, None) if problem is None else (None, problem)


def _not_living(key_id: str) -> Problem:
    return Problem(code="unknown_key", path=key_id, detail=f"there is no living access key `{key_id}`")
