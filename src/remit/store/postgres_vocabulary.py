"""The vocabulary of tags in PostgreSQL: as it is, and its next revisions."""

from datetime import datetime

import psycopg

from remit.grants.vocabulary_model import GovernedTag
from remit.store.connect import Opens
from remit.store.named import query


class PostgresVocabulary:
    """Over connections in the authority's role, or over that of one open write."""

    def __init__(self, opens: Opens) -> None:
        self._opens = opens

    def all(self, *, retired: bool = False) -> list[GovernedTag]:
        """Every tag by name; with `retired`, those whose name is free again as well."""
        with self._opens() as connection:
            return read_tags(connection, retired=retired)

    def find(self, name: str) -> GovernedTag | None:
        """The tag of that name, also a retired one."""
        with self._opens() as connection:
            return next(iter(read_tags(connection, name, retired=True)), None)

    def put(self, tag: GovernedTag, now: datetime, by: str, reason: str) -> None:
        """Appends a revision. Who writes was said before, and the tree is locked."""
        with self._opens() as connection:
            connection.execute(
                query("tag_put"),
                {
                    "name": tag.name,
                    "revision": tag.revision,
                    "owner": tag.owner,
                    "description": tag.description,
                    "allowed": None if tag.values is None else sorted(tag.values),
                    "retired": sorted(tag.retired),
                    "grant_id": tag.grant_id,
                    "is_retired": tag.is_retired,
                    "changed_at": now,
                    "changed_by": by,
                    "reason": reason,
                },
            )


def read_tags(connection: psycopg.Connection, name: str | None = None, *, retired: bool = False) -> list[GovernedTag]:
    """The tags as the open transaction sees them."""
    rows = connection.execute(query("tag_names"), {"name": name, "retired": retired}).fetchall()
    return [
        GovernedTag(
            name=row[0],
            revision=row[1],
            owner=row[2],
            description=row[3],
            values=None if row[4] is None else frozenset(row[4]),
            retired=frozenset(row[5]),
            grant_id=row[6],
            is_retired=row[7],
        )
        for row in rows
    ]
