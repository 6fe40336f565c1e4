"""What a gateway knows of the tree: read whole, in one transaction, whenever its revision changes."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import psycopg
import structlog

from remit.capabilities.model import IssuerKey, StoredCapability
from remit.grants.model import Grant
from remit.grants.serialise import from_body
from remit.store.connect import Role, connect_async
from remit.store.named import query

_log = structlog.get_logger(__name__)
_RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class KnownKey:
    """An access key as a gateway needs it."""

    id: str
    grant_id: str
    secret_hash: bytes
    capability: StoredCapability
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredTree:
    """The tree at one revision."""

    revision: int
    grants: tuple[Grant, ...]
    keys: tuple[KnownKey, ...]
    issuers: tuple[IssuerKey, ...]


class PostgresTree:
    """Reads the tree and hears of its changes, over connections in the gateway's role."""

    def __init__(self, url: str, role: Role = "remit_gateway") -> None:
        self._url = url
        self._role = role

    async def read(self) -> StoredTree:
        """The tree as it is now. Raises psycopg.Error when the database cannot be asked."""
        async with await connect_async(self._url, self._role) as connection:
            await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
            await connection.set_read_only(True)
            async with connection.transaction():
                revision = await (await connection.execute(query("snapshot_revision"))).fetchone()
                assert revision is not None
                grants = await (await connection.execute(query("tree_grants"))).fetchall()
                keys = await (await connection.execute(query("snapshot_keys"))).fetchall()
                issuers = await (await connection.execute(query("snapshot_issuers"))).fetchall()
        return StoredTree(
            revision[0],
            tuple(from_body(row[0]) for row in grants),
            tuple(KnownKey(r[0], r[1], r[2], StoredCapability(r[3], r[4], r[5]), r[6]) for r in keys),
            tuple(IssuerKey(row[0], row[1], verify_only=row[2] == "verify_only") for row in issuers),
        )

    async def follow(self, changed: Callable[[], Awaitable[None]]) -> None:
        """Calls `changed` now, and after every change of the tree, for ever; reconnects by itself.

        Missing a notice is harmless for money (a hold at an old revision is not taken); it only costs a retry.
        """
        while True:
            try:
                async with await connect_async(self._url, self._role) as connection:
                    await connection.execute("LISTEN remit_tree")
                    await changed()
                    async for _ in connection.notifies():
                        await changed()
            except (psycopg.Error, OSError) as error:
                _log.warning("tree_not_followed", error=str(error))
            await asyncio.sleep(_RETRY_SECONDS)
