"""Person tokens in PostgreSQL, in the authority's role; no other role can see the table."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from remit.grants.model import RoleBinding
from remit.grants.ports import Said
from remit.store.authored import say_unless_said
from remit.store.connect import Opens
from remit.store.named import query
from remit.store.postgres_roster import PostgresRoster, person_key


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPerson:
    """A person token as stored: no secret in it, only its hash (32 bytes).

    It may be held to reading, or to one grant and what is below it, or by its `scope` to asserting outcomes, of these kinds and
    sources if there are any. `made_with` is the token that its maker showed.
    """

    id: str
    name: str
    is_admin: bool
    secret_hash: bytes = field(repr=False)
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None = None
    read_only: bool = False
    grant_id: str | None = None
    purpose: str = ""
    made_with: str | None = None
    scope: str | None = None
    kinds: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KnownToken:
    """A token with what is known of its person: whether they left, and the roles they have at this moment."""

    token: StoredPerson
    has_left: bool
    roles: tuple[RoleBinding, ...]


class PostgresPeople:
    """Keeps person tokens, over connections in the authority's role."""

    def __init__(self, opens: Opens) -> None:
        self._opens = opens

    @property
    def roster(self) -> PostgresRoster:
        """The people whose tokens these are."""
        return PostgresRoster(self._opens)

    def insert(self, person: StoredPerson) -> None:
        """Stores a token of a person who is known. Raises psycopg.errors.UniqueViolation for an id that is taken."""
        with self._opens() as connection, connection.transaction():
            said = Said(at=person.created_at, actor=person.created_by, operation="token make", reason=person.purpose)
            say_unless_said(connection, said, "command")
            connection.execute(
                query("person_insert"),
                {
                    "id": person.id,
                    "name": person.name,
                    "person": person_key(person.name),
                    "is_admin": person.is_admin,
                    "secret_hash": person.secret_hash,
                    "created_at": person.created_at,
                    "created_by": person.created_by,
                    "expires_at": person.expires_at,
                    "read_only": person.read_only,
                    "grant_id": person.grant_id,
                    "purpose": person.purpose,
                    "made_with": person.made_with,
                    "scope": person.scope,
                    "kinds": list(person.kinds),
                    "sources": list(person.sources),
                },
            )

    def find(self, token_id: str) -> StoredPerson | None:
        known = self.know(token_id)
        return None if known is None else known.token

    def know(self, token_id: str) -> KnownToken | None:
        """A token with what is known of its person, in one question."""
        with self._opens() as connection:
            row = connection.execute(query("person_find"), {"id": token_id}).fetchone()
        if row is None:
            return None
        return KnownToken(_person(row), row[15], tuple(RoleBinding(role, grant_id) for role, grant_id in row[16]))

    def all(self, person: str | None = None) -> list[StoredPerson]:
        """Every token, by name; or those of a person, by their key."""
        with self._opens() as connection:
            return [_person(row) for row in connection.execute(query("person_list"), {"person": person}).fetchall()]

    def revoke(self, token_id: str, by: str, now: datetime) -> bool:
        """Whether a living token was revoked, or one that was made with it."""
        with self._opens() as connection, connection.transaction():
            say_unless_said(connection, Said(at=now, actor=by, operation="token revoke"), "command")
            return connection.execute(query("person_revoke"), {"id": token_id, "now": now}).rowcount > 0


def _person(row: tuple[Any, ...]) -> StoredPerson:
    return StoredPerson(
        id=row[0],
        name=row[1],
        is_admin=row[2],
        secret_hash=row[3],
        created_at=row[4],
        created_by=row[5],
        expires_at=row[6],
        revoked_at=row[7],
        read_only=row[8],
        grant_id=row[9],
        purpose=row[10],
        made_with=row[11],
        scope=row[12],
        kinds=tuple(row[13]),
        sources=tuple(row[14]),
    )
