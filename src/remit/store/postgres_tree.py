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
_REVISION_TIMEOUT_SECONDS = 2.0


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
        self._link: psycopg.AsyncConnection | None = None
        self._asking = asyncio.Lock()
        self._asked = self._answered = 0
        self._revision: int | None = None

    async def revision(self) -> int | None:
        """The tree's revision at some instant after this was called, None where the database cannot be asked.

        One question is under way at a time; the next one answers everybody who has asked meanwhile.
        """
        self._asked += 1
        number = self._asked
        async with self._asking:
            if self._answered < number:
                everybody = self._asked
                self._revision = await self._ask_revision()
                self._answered = everybody
            return self._revision

    async def close(self) -> None:
        """Ends the connection on which revisions are asked for."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def _ask_revision(self) -> int | None:
        # A kept connection may have died since; that says nothing about the database.
        for last in (self._link is None, True):
            try:
                async with asyncio.timeout(_REVISION_TIMEOUT_SECONDS):
                    if self._link is None or self._link.closed:
                        self._link = await connect_async(self._url, self._role)
                    row = await (await self._link.execute(query("snapshot_revision"))).fetchone()
                assert row is not None
                return int(row[0])
            except (psycopg.Error, TimeoutError, OSError) as error:
                _log.warning("tree_revision_unknown", error=str(error))
                await self.close()
                if last:
                    break
        return None

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
