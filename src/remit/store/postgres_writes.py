"""One write of the control plane as one transaction: what it checks, what it changes, and the answer it remembers.

The services' own stores are bound to the transaction's connection, so that a precondition, the write and the remembered
answer stand or fall together. The transaction holds the tree lock: writes come one after the other.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from remit.grants.ports import Remembered
from remit.store.connect import connect
from remit.store.postgres_grants import _Unit as TreeUnit
from remit.store.postgres_keys import PostgresKeys


class _InnerUnit(TreeUnit):
    """A unit of a service inside a write that is remembered as a whole."""

    def remembered(self, key: str) -> Remembered | None:
        return None

    def remember(self, first: Remembered) -> None:
        return


class BoundGrants:
    """`GrantRepository` inside a transaction that is open already; it alone commits."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    @contextmanager
    def write(self) -> Iterator[TreeUnit]:
        """A unit that leaves no trace when it raises."""
        with self._connection.transaction():
            yield _InnerUnit(self._connection)

    @contextmanager
    def read(self) -> Iterator[TreeUnit]:
        """The tree as this transaction has left it so far."""
        yield _InnerUnit(self._connection)


class BoundKeys(PostgresKeys):
    """`KeyStore` inside a transaction that is open already."""

    def __init__(self, connection: psycopg.Connection) -> None:
        super().__init__("")
        self._connection = connection

    @contextmanager
    def _connect(self) -> Iterator[psycopg.Connection]:  # type: ignore[override]
        yield self._connection


@dataclass(frozen=True, slots=True)
class WriteUnit:
    """One open transaction of a write."""

    connection: psycopg.Connection

    @property
    def grants(self) -> BoundGrants:
        return BoundGrants(self.connection)

    @property
    def keys(self) -> BoundKeys:
        return BoundKeys(self.connection)

    def remembered(self, key: str) -> Remembered | None:
        """The first write under this idempotency key, if there was one."""
        return TreeUnit(self.connection).remembered(key)

    def remember(self, first: Remembered) -> None:
        """Keeps the first write under its key. The key is new (`remembered` was asked in this unit)."""
        TreeUnit(self.connection).remember(first)


class PostgresWrites:
    """Opens transactions in the authority's role."""

    def __init__(self, url: str) -> None:
        self._url = url

    @contextmanager
    def unit(self) -> Iterator[WriteUnit]:
        """Commits when the block ends, rolls back when it raises. Excludes all other writers of the tree."""
        with connect(self._url, "remit_authority") as connection, connection.transaction():
            connection.execute("SELECT lock_tree(true)")
            yield WriteUnit(connection)
