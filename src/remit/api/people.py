"""People of the control plane: who a token stands for. Tokens are made, listed and revoked here only.

`rp_` + 12 characters of token id + `_` + 43 characters of secret, 59 in all. The id is public; the secret is 256 random
bits in base64url, shown once and stored as a hash.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final, Literal

from remit.capabilities.encoding import decode_base64url, encode_base64url
from remit.grants.model import Actor, Asserting, Grant, Problem, RoleBinding
from remit.grants.tree import Tree
from remit.kernel.clock import Clock
from remit.kernel.ids import ALPHABET, new_id
from remit.kernel.names import PERSON_NAME
from remit.store.postgres_people import KnownToken, PostgresPeople, StoredPerson
from remit.store.postgres_roster import Source, person_key

DEFAULT_LIFE = timedelta(days=90)
MAX_LIFE = timedelta(days=366)
DEFAULT_NARROW_LIFE = timedelta(days=30)
MAX_LIVING_TOKENS = 100
MAX_PURPOSE = 200
ASSERT_SCOPE: Final = "outcomes:assert"
_ID_CHARS = 12
_SECRET_BYTES = 32
_HASH_DOMAIN = b"rmt1-person-token\0"
_NO_HASH = bytes(32)
_TOKEN = re.compile(r"rp_([0-9a-hjkmnp-tv-z]{12})_([A-Za-z0-9_-]{43})")

NotAuthenticated = Literal["unauthenticated", "token_expired", "token_revoked", "person_left"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPerson:
    """A token just made. `text` is shown once and cannot be recovered."""

    person: StoredPerson
    text: str = field(repr=False)


class PeopleService:
    """The one way to write and to check person tokens."""

    def __init__(self, store: PostgresPeople, clock: Clock, random: Callable[[int], bytes]) -> None:
        self._store = store
        self._clock = clock
        self._random = random

    def create(
        self,
        name: str,
        by: str,
        *,
        is_admin: bool = False,
        life: timedelta = DEFAULT_LIFE,
        source: Source = "command",
        purpose: str = "",
    ) -> NewPerson | Problem:
        """A token for a person of that e-mail-like name; one person may have several."""
        if not PERSON_NAME.fullmatch(name):
            detail = f"`{name}` is not an e-mail address of a person"
            return Problem(code="name_invalid", path="", field="name", detail=detail)
        if not timedelta() < life <= MAX_LIFE:
            detail = f"a person token lives more than 0 and at most {MAX_LIFE.days} days"
            return Problem(code="expiry_invalid", path="", field="expires_at", detail=detail)
        now, roster = self._clock.now(), self._store.roster
        if roster.left([name]):
            detail = f"`{name}` left; `remit person return {name}` lets them come back"
            return Problem(code="person_left", path="", field="name", detail=detail)
        roster.put(person_key(name), new_id("person", now), source, by, now)
        return self._insert(
            StoredPerson(
                id=self._new_id(),
                name=name,
                is_admin=is_admin,
                secret_hash=_NO_HASH,
                created_at=now,
                created_by=by,
                expires_at=now + life,
                purpose=purpose,
            )
        )

    def narrow(
        self,
        maker: StoredPerson,
        *,
        read_only: bool,
        grant: Grant | None,
        tree: Tree,
        life: timedelta | None,
        purpose: str,
        asserts: Asserting | None = None,
    ) -> NewPerson | Problem:
        """A token that a person makes for themselves with the one they showed: it may no more, and ends no later.

        It is revoked with the one it was made with. With `asserts` it asserts such outcomes and does nothing else.
        """
        now = self._clock.now()
        if not purpose or len(purpose) > MAX_PURPOSE or not purpose.isprintable():
            detail = f"a purpose has 1 to {MAX_PURPOSE} printable characters"
            return Problem(code="purpose_invalid", path="", field="purpose", detail=detail)
        if maker.grant_id is not None:
            top = tree[maker.grant_id]
            grant = grant or top
            if top.id not in {node.id for node in tree.path_to(grant)}:
                detail = f"the token shown is for `{top.path}` and what is below it, which `{grant.path}` is not"
                return Problem(code="not_permitted", path=grant.path, field="grant", detail=detail)
        expires_at = min(now + DEFAULT_NARROW_LIFE, maker.expires_at) if life is None else now + min(life, MAX_LIFE * 2)
        if not now < expires_at <= maker.expires_at:
            detail = f"a token ends no later than the one it is made with: {maker.expires_at.isoformat()}"
            return Problem(code="expires_after_maker", path="", field="ttl_seconds", detail=detail)
        if asserts is not None and (read_only or maker.read_only):
            detail = "a token that may only read asserts nothing"
            return Problem(code="not_permitted", path="", field="scope", detail=detail)
        living = [one for one in self.of(maker.name) if one.revoked_at is None and now < one.expires_at]
        if len(living) >= MAX_LIVING_TOKENS:
            detail = f"`{maker.name}` has {len(living)} tokens that work, and may have at most {MAX_LIVING_TOKENS}"
            return Problem(code="too_many_tokens", path="", detail=detail)
        return self._insert(
            StoredPerson(
                id=self._new_id(),
                name=maker.name,
                is_admin=maker.is_admin,
                secret_hash=_NO_HASH,
                created_at=now,
                created_by=maker.name,
                expires_at=expires_at,
                read_only=read_only or maker.read_only,
                grant_id=None if grant is None else grant.id,
                purpose=purpose,
                made_with=maker.id,
                scope=None if asserts is None else ASSERT_SCOPE,
                kinds=() if asserts is None else asserts.kinds,
                sources=() if asserts is None else asserts.sources,
            )
        )

    def _new_id(self) -> str:
        bits = int.from_bytes(self._random(8), "big")
        return "".join(ALPHABET[(bits >> (5 * place)) & 31] for place in range(_ID_CHARS))

    def _insert(self, token: StoredPerson) -> NewPerson:
        """Stores it with the hash of a fresh secret."""
        secret = self._random(_SECRET_BYTES)
        assert len(secret) == _SECRET_BYTES
        stored = replace(token, secret_hash=_hash(secret))
        self._store.insert(stored)
        return NewPerson(person=stored, text=f"rp_{stored.id}_{encode_base64url(secret)}")

    def of(self, name: str) -> list[StoredPerson]:
        """Every token of a person."""
        return self._store.all(person_key(name))

    def all(self) -> list[StoredPerson]:
        """Every token ever made, by name."""
        return self._store.all()

    def revoke(self, token_id: str, by: str) -> StoredPerson | Problem:
        """Makes a token useless from the next request on; again, it changes nothing."""
        self._store.revoke(token_id, by, self._clock.now())
        person = self._store.find(token_id)
        if person is None:
            detail = f"there is no person token `{token_id}`"
            return Problem(code="unknown_token", path="", field="id", detail=detail)
        return person

    def authenticate(self, token: str) -> tuple[Actor, StoredPerson] | NotAuthenticated:
        """Who presents this token, and the token as stored.

        A text that is no token, an unknown id and a wrong secret get one answer. A text of the form of a token is
        looked up, and its secret compared in constant time, whether or not its id is known; any other text is refused
        before that. Only who has the secret learns that a token has expired or was revoked, or that its person left.
        """
        shape = _TOKEN.fullmatch(token)
        secret = decode_base64url(shape[2]) if shape else None
        if shape is None or not isinstance(secret, bytes):
            return "unauthenticated"
        known = self._store.know(shape[1])
        right = hmac.compare_digest(known.token.secret_hash if known else _NO_HASH, _hash(secret))
        if known is None or not right:
            return "unauthenticated"
        if known.has_left:
            return "person_left"
        if known.token.revoked_at is not None:
            return "token_revoked"
        if self._clock.now() >= known.token.expires_at:
            return "token_expired"
        return _actor(known), known.token


def _actor(known: KnownToken) -> Actor:
    """What the token's person may do at this moment, as far as the token lets them."""
    token, everywhere = known.token, RoleBinding("org_owner")
    roles = known.roles if not token.is_admin else (*known.roles, everywhere)
    is_admin = everywhere in roles and token.grant_id is None
    asserts = None if token.scope is None else Asserting(token.kinds, token.sources)
    return Actor(token.name, is_admin, roles=roles, within=token.grant_id, read_only=token.read_only, asserts=asserts)


def _hash(secret: bytes) -> bytes:
    """SHA-256 under its own domain; 256 random bits need no slow hash."""
    return hashlib.sha256(_HASH_DOMAIN + secret).digest()
