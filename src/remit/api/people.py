"""People of the control plane: who a token stands for. Tokens are made, listed and revoked here only.

`rp_` + 12 characters of token id + `_` + 43 characters of secret, 59 in all. The id is public; the secret is 256 random
bits in base64url, shown once and stored as a hash.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from remit.capabilities.encoding import decode_base64url, encode_base64url
from remit.grants.model import Actor, Problem
from remit.kernel.clock import Clock
from remit.kernel.ids import ALPHABET
from remit.kernel.names import PERSON_NAME
from remit.store.postgres_people import PostgresPeople, StoredPerson

DEFAULT_LIFE = timedelta(days=90)
MAX_LIFE = timedelta(days=366)
_ID_CHARS = 12
_SECRET_BYTES = 32
_HASH_DOMAIN = b"rmt1-person-token\0"
_NO_HASH = bytes(32)
_TOKEN = re.compile(r"rp_([0-9a-hjkmnp-tv-z]{12})_([A-Za-z0-9_-]{43})")

NotAuthenticated = Literal["unauthenticated", "token_expired", "token_revoked"]


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
        self, name: str, by: str, *, is_admin: bool = False, life: timedelta = DEFAULT_LIFE
    ) -> NewPerson | Problem:
        """A token for a person of that e-mail-like name; one person may have several."""
        if not PERSON_NAME.fullmatch(name):
            detail = f"`{name}` is not an e-mail address of a person"
            return Problem(code="name_invalid", path="", field="name", detail=detail)
        if not timedelta() < life <= MAX_LIFE:
            detail = f"a person token lives more than 0 and at most {MAX_LIFE.days} days"
            return Problem(code="expiry_invalid", path="", field="expires_at", detail=detail)
        bits = int.from_bytes(self._random(8), "big")
        token_id = "".join(ALPHABET[(bits >> (5 * place)) & 31] for place in range(_ID_CHARS))
        secret = self._random(_SECRET_BYTES)
        assert len(secret) == _SECRET_BYTES
        now = self._clock.now()
        person = StoredPerson(
            id=token_id,
            name=name,
            is_admin=is_admin,
            secret_hash=_hash(secret),
            created_at=now,
            created_by=by,
            expires_at=now + life,
        )
        self._store.insert(person)
        return NewPerson(person=person, text=f"rp_{token_id}_{encode_base64url(secret)}")

    def all(self) -> list[StoredPerson]:
        """Every token ever made, by name."""
        return self._store.all()

    def revoke(self, token_id: str) -> StoredPerson | Problem:
        """Makes a token useless from the next request on; again, it changes nothing."""
        self._store.revoke(token_id, self._clock.now())
        person = self._store.find(token_id)
        if person is None:
            detail = f"there is no person token `{token_id}`"
            return Problem(code="unknown_token", path="", field="id", detail=detail)
        return person

    def authenticate(self, token: str) -> Actor | NotAuthenticated:
        """Who presents this token.

        A text that is no token, an unknown id and a wrong secret get one answer. A text of the form of a token is
        looked up, and its secret compared in constant time, whether or not its id is known; any other text is refused
        before that. Only who has the secret learns that a token has expired or was revoked.
        """
        shape = _TOKEN.fullmatch(token)
        secret = decode_base64url(shape[2]) if shape else None
        if shape is None or not isinstance(secret, bytes):
            return "unauthenticated"
        person = self._store.find(shape[1])
        right = hmac.compare_digest(person.secret_hash if person else _NO_HASH, _hash(secret))
        if person is None or not right:
            return "unauthenticated"
        if person.revoked_at is not None:
            return "token_revoked"
        if self._clock.now() >= person.expires_at:
            return "token_expired"
        return Actor(person.name, person.is_admin)


def _hash(secret: bytes) -> bytes:
    """SHA-256 under its own domain; 256 random bits need no slow hash."""
    return hashlib.sha256(_HASH_DOMAIN + secret).digest()
