"""What a gateway knows of the tree: read whole, in one transaction, whenever its revision changes."""

import asyncio
import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import psycopg
import structlog

from remit.capabilities.model import IssuerKey, StoredCapability
from remit.grants.model import Grant
from remit.grants.serialise import from_body
from remit.grants.vocabulary_model import GovernedTag
from remit.kernel.clock import Clock, SystemClock
from remit.leases.breaker import Rule, Scope, ScopeKind, TripMode
from remit.leases.trips import Trip
from remit.store.connect import Role, connect_async
from remit.store.named import query

_log = structlog.get_logger(__name__)
_RETRY_SECONDS = 0.5
_REVISION_TIMEOUT_SECONDS = 2.0
_READ_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class KnownKey:
    """An access key as a gateway needs it."""

    id: str
    grant_id: str
    secret_hash: bytes
    capability: StoredCapability
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class KnownRevocation:
    """What was revoked: a `block`, `key`, `grant` or `issuer`, and whether calls under way end with it."""

    kind: str
    subject: str
    cut_streams: bool


@dataclass(frozen=True, slots=True)
class StoredTree:
    """The tree at one revision. `revocations` are those of blocks, and what running calls are to be cut for.

    `trips` are those of the runaway breaker that are in effect, `tags` the names whose values are governed.
    """

    revision: int
    grants: tuple[Grant, ...]
    keys: tuple[KnownKey, ...]
    issuers: tuple[IssuerKey, ...]
    revocations: tuple[KnownRevocation, ...] = ()
    trips: tuple[Trip, ...] = ()
    tags: tuple[GovernedTag, ...] = ()


class PostgresTree:
    """Reads the tree and hears of its changes, over connections in the gateway's role."""

    def __init__(self, url: str, role: Role = "remit_gateway", clock: Clock | None = None) -> None:
        self._url = url
        self._role = role
        self._clock = clock or SystemClock()
        self._link: psycopg.AsyncConnection | None = None
        self._reading: psycopg.AsyncConnection | None = None
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
        """Ends the connections on which the tree and its revisions are asked for."""
        await self._close_link()
        await self._close_reading()

    async def _close_link(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def _close_reading(self) -> None:
        link, self._reading = self._reading, None
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
                await self._close_link()
                if last:
                    break
        return None

    async def read(self) -> StoredTree:
        """The tree as it is now, over a connection that is kept; one reading at a time.

        Raises psycopg.Error or OSError when the database cannot be asked.
        """
        # A kept connection may have died since; that says nothing about the database.
        if self._reading is not None and not self._reading.closed:
            try:
                return await self._read_once()
            except (psycopg.OperationalError, OSError) as error:
                _log.warning("tree_not_read", error=str(error))
        return await self._read_once()

    async def _read_once(self) -> StoredTree:
        try:
            async with asyncio.timeout(_READ_TIMEOUT_SECONDS):
                if self._reading is None or self._reading.closed:
                    self._reading = await connect_async(self._url, self._role)
                    await self._reading.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
                    await self._reading.set_read_only(True)
                return await self._read_on(self._reading)
        except BaseException:
            # Whatever state it is in, the next reading begins on a new one.
            await self._close_reading()
            raise

    async def _read_on(self, connection: psycopg.AsyncConnection) -> StoredTree:
        async with connection.transaction():
            revision = await (await connection.execute(query("snapshot_revision"))).fetchone()
            assert revision is not None
            grants = await (await connection.execute(query("tree_grants"))).fetchall()
            keys = await (await connection.execute(query("snapshot_keys"))).fetchall()
            issuers = await (await connection.execute(query("snapshot_issuers"))).fetchall()
            revoked = await connection.execute(query("snapshot_revocations"), {"now": self._clock.now()})
            revocations = await revoked.fetchall()
            tripped = await connection.execute(query("snapshot_trips"), {"now": self._clock.now()})
            trips = await tripped.fetchall()
            tags = await (await connection.execute(query("snapshot_tags"))).fetchall()
        return StoredTree(
            revision[0],
            tuple(from_body(row[0]) for row in grants),
            tuple(KnownKey(r[0], r[1], r[2], StoredCapability(r[3], r[4], r[5]), r[6]) for r in keys),
            tuple(_issuer(*row) for row in issuers),
            tuple(KnownRevocation(*row) for row in revocations),
            tuple(_trip(*row) for row in trips),
            tuple(_tag(*row) for row in tags),
        )

    async def follow(self, changed: Callable[[int | None], Awaitable[None]]) -> None:
        """Calls `changed` now, and after every change of the tree with its new revision, for ever; reconnects by itself.

        Missing a notice is harmless for money (a hold at an old revision is not taken); it only costs a retry.
        """
        while True:
            try:
                async with await connect_async(self._url, self._role) as connection:
                    await connection.execute("LISTEN remit_tree")
                    await changed(None)
                    async for notice in connection.notifies():
                        # Every login of the database can send a notice, of anything.
                        if re.fullmatch(r"[0-9]{1,18}", notice.payload):
                            await changed(int(notice.payload))
            except (psycopg.Error, OSError) as error:
                _log.warning("tree_not_followed", error=str(error))
            await asyncio.sleep(_RETRY_SECONDS)


def _issuer(kid: str, public_key: bytes, status: str, min_issued_at: datetime | None) -> IssuerKey:
    # Capabilities know whole seconds: one of the cut-off's own second is taken to be from before it.
    cut_off = None if min_issued_at is None else math.ceil(min_issued_at.timestamp())
    return IssuerKey(kid, public_key, status == "verify_only", cut_off, revoked=status == "revoked")


def _tag(  # noqa: PLR0917 - the columns of one row
    name: str, revision: int, owner: str, allowed: list[str] | None, retired: list[str], grant_id: str | None
) -> GovernedTag:
    values = None if allowed is None else frozenset(allowed)
    return GovernedTag(
        name=name,
        revision=revision,
        owner=owner,
        description="",
        values=values,
        retired=frozenset(retired),
        grant_id=grant_id,
    )


def _trip(  # noqa: PLR0917 - the columns of one row
    trip_id: str,
    grant_id: str,
    kind: ScopeKind,
    subject: str,
    rule: Rule,
    measured: int,
    allowed: int,
    mode: TripMode,
    until: datetime,
    revision: int,
) -> Trip:
    return Trip(
        id=trip_id,
        scope=Scope(grant_id, kind, subject),
        rule=rule,
        measured=measured,
        allowed=allowed,
        mode=mode,
        until=until,
        recorded_at=revision,
    )
