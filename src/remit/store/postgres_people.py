"""Person tokens in PostgreSQL, in the authority's role; no other role can see the table."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from remit.store.connect import Opens
from remit.store.named import query


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPerson:
    """A person token as stored: no secret in it, only its hash (32 bytes)."""

    id: str
    name: str
    is_admin: bool
    secret_hash: bytes = field(repr=False)
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None = None


class PostgresPeople:
    """Keeps person tokens, over connections in the authority's role."""

    def __init__(self, opens: Opens) -> None:
        self._opens = opens

    def insert(self, person: StoredPerson) -> None:
        """Stores a token. Raises psycopg.errors.UniqueViolation for an id that is taken."""
        with self._opens() as connection:
            connection.execute(
                query("person_insert"),
                {
                    "id": person.id,
                    "name": person.name,
                    "is_admin": person.is_admin,
                    "secret_hash": person.secret_hash,
                    "created_at": person.created_at,
                    "created_by": person.created_by,
                    "expires_at": person.expires_at,
                },
            )

    def find(self, token_id: str) -> StoredPerson | None:
        with self._opens() as connection:
            row = connection.execute(query("person_find"), {"id": token_id}).fetchone()
        return None if row is None else _person(row)

    def all(self) -> list[StoredPerson]:
        """Every token, by name."""
        with self._opens() as connection:
            return [_person(row) for row in connection.execute(query("person_list")).fetchall()]

    def revoke(self, token_id: str, now: datetime) -> bool:
        """Whether a living token was revoked."""
        with self._opens() as connection:
            return connection.execute(query("person_revoke"), {"id": token_id, "now": now}).rowcount == 1


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
    )
